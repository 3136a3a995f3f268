"""Data validation with the real Great Expectations and the real MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest

from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.validate_data import engine as validate_data_engine
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.data_validation import between, people, run, suite_file, write


def test_data_that_meets_the_suite_passes(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write(workspace, people())
    suite = suite_file(
        tmp_path,
        between("age", 0, 120),
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "city", "value_set": ["Ulm", "Bonn", "Kiel"]},
        },
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 500}},
        {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "visits", "type_": "int64"}},
        {
            "type": "expect_column_pair_values_a_to_be_greater_than_b",
            "kwargs": {"column_A": "age", "column_B": "visits"},
        },
        between(
            "income", 0, 1e9, kwargs={"row_condition": 'col("age") > 30', "condition_parser": "great_expectations"}
        ),
    )
    result = run(workspace, dataset, suite_file=suite)
    assert (result.verdict, result.expectations, result.failed_expectations) == ("passed", 6, 0)
    assert result.schema_skew == result.value_skew == ()
    assert result.dataset == dataset
    assert result.rows_checked == 500
    mlflow_run = workspace.registry().client.get_run(result.mlflow_run_id)
    assert mlflow_run.data.metrics["expectations"] == 6
    assert mlflow_run.data.tags["mlops.verdict"] == "passed"


@pytest.mark.parametrize(("policy", "verdict"), [("fail", None), ("warn", "warned"), ("continue", "failed")])
def test_value_skew_follows_the_policy(workspace: Workspace, tmp_path: Path, policy: str, verdict: str | None) -> None:
    dataset = write(workspace, people())
    suite = suite_file(tmp_path, between("age", 0, 40), between("visits", 0, 20))
    if verdict is None:
        with pytest.raises(
            RejectedError,
            match=r"Rejected .*: value skew: age: expect_column_values_to_be_between: \d+ unexpected values",
        ):
            run(workspace, dataset, suite_file=suite)
        (rejected,) = workspace.registry().client.search_runs(["1"])
        assert rejected.data.tags["mlops.verdict"] == "failed"
        assert rejected.data.metrics["value_skew"] == 1
    else:
        result = run(workspace, dataset, suite_file=suite, on_value_skew=policy)
        assert result.verdict == verdict
        assert len(result.value_skew) == 1
        assert result.value_skew[0].startswith("age: ")


@pytest.mark.parametrize(("severity", "verdict"), [("warning", "warned"), ("info", "passed")])
def test_warnings_and_infos_never_stop_the_run(
    workspace: Workspace, tmp_path: Path, severity: str, verdict: str
) -> None:
    dataset = write(workspace, people())
    result = run(workspace, dataset, suite_file=suite_file(tmp_path, between("age", 0, 40, severity=severity)))
    assert (result.verdict, result.failed_expectations) == (verdict, 1)


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        (
            {"type": "expect_column_to_exist", "kwargs": {"column": "shoe_size"}},
            "the dataset has no column 'shoe_size'",
        ),
        (
            {"type": "expect_table_columns_to_match_set", "kwargs": {"column_set": ["age"]}},
            "unexpected columns 'balance'",
        ),
        (
            {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "age", "type_": "int64"}},
            "observed float64, expected type_ int64",
        ),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "income"}}, "income: .*values"),
        (between("shoe_size", 0, 60), "the dataset has no column 'shoe_size'"),
        (between("age", 0, 40, meta={"skew": "schema"}), "age: "),
    ],
)
def test_schema_skew_always_stops(workspace: Workspace, tmp_path: Path, expectation: dict[str, Any], says: str) -> None:
    dataset = write(workspace, people())
    with pytest.raises(RejectedError, match=f"Rejected .*: schema skew: .*{says}"):
        run(workspace, dataset, suite_file=suite_file(tmp_path, expectation), on_value_skew="continue")


def test_a_share_of_missing_values_is_about_values(workspace: Workspace, tmp_path: Path) -> None:
    suite = suite_file(
        tmp_path, {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "income", "mostly": 0.99}}
    )
    result = run(workspace, write(workspace, people()), suite_file=suite, on_value_skew="continue")
    assert result.schema_skew == ()
    assert len(result.value_skew) == 1


def test_an_expectation_that_cannot_be_checked_fails_and_says_why(workspace: Workspace, tmp_path: Path) -> None:
    result = run(
        workspace,
        write(workspace, people()),
        suite_file=suite_file(tmp_path, between("city", 0, 1)),
        on_value_skew="continue",
    )
    assert "city: expect_column_values_to_be_between: the expectation could not be checked (" in result.value_skew[0]


def test_a_dataset_without_a_manifest_is_invalid(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write(workspace, people(10))
    Path(dataset.uri, "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="manifest"):
        run(workspace, dataset, suite_file=suite_file(tmp_path, between("age", 0, 120)))


def test_large_datasets_are_sampled_the_same_way(workspace: Workspace, tmp_path: Path) -> None:
    rows = 200_000
    table = pyarrow.table({"a": numpy.arange(rows), "b": numpy.arange(rows)})
    dataset = write(workspace, table)
    suite = suite_file(
        tmp_path,
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": rows}},
        {"type": "expect_column_pair_values_to_be_equal", "kwargs": {"column_A": "a", "column_B": "b"}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "a", "min_value": 97e3, "max_value": 103e3}},
    )
    result = run(workspace, dataset, suite_file=suite, max_rows=10_000)
    assert result.verdict == "passed"
    assert 9_500 < result.rows_checked < 10_500
    assert run(workspace, dataset, suite_file=suite, max_rows=10_000).rows_checked == result.rows_checked


def test_only_the_required_columns_are_in_memory(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[list[str]] = []
    real = validate_data_engine.to_pandas

    def seen(table: pyarrow.Table) -> Any:
        if table.num_rows:
            frames.append(table.column_names)
        return real(table)

    monkeypatch.setattr(validate_data_engine, "to_pandas", seen)
    monkeypatch.setattr(validate_data_engine, "MAX_CELLS", 500)
    dataset = write(workspace, people())
    uri = profile(dataset.table()).write(workspace.uri("profiles") + "/profile.json")
    run(workspace, dataset, reference_profile_uri=uri)
    assert sorted(frames) == sorted([name] for name in people().column_names)


def test_the_result_is_small_even_if_everything_fails(workspace: Workspace) -> None:
    wide = pyarrow.table({f"column_{index}": [float(index)] * 10 for index in range(100)})
    uri = profile(write(workspace, wide, "reference").table()).write(workspace.uri("profiles") + "/profile.json")
    shifted = pyarrow.table({name: [1e6] * 10 for name in wide.column_names})
    result = run(workspace, write(workspace, shifted), reference_profile_uri=uri, on_value_skew="continue")
    assert result.failed_expectations >= 100
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES
