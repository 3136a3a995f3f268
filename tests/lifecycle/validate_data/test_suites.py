"""Where expectations come from: a reference profile, code or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.validate_data import engine as validate_data_engine
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.data_validation import people, run, write


def test_a_reference_profile_accepts_similar_rows_and_rejects_others(workspace: Workspace) -> None:
    reference = write(workspace, people(seed=1), "reference")
    uri = profile(reference.table()).write(workspace.uri("profiles") + "/profile.json")
    # Similar samples, large and small: the margins must be wide enough that chance rejects none of them.
    for seed, rows in enumerate((10, 20, 50, 200, 200, 200, 1000, 1000), start=2):
        sample = write(workspace, people(rows=rows, seed=seed), "sample")
        suite = validate_suite(uri, sample)
        outcome, _ = validate_data_engine.run_suite(sample, suite, None)
        assert outcome.success, [result for result in outcome.results if not result.success]
    accepted = run(workspace, sample, reference_profile_uri=uri)
    assert accepted.verdict == "passed"
    assert accepted.expectations > 15

    older = people(seed=3)
    older = older.set_column(0, "age", pyarrow.array(numpy.asarray(older["age"]) + 30))
    result = run(workspace, write(workspace, older, "older"), reference_profile_uri=uri, on_value_skew="continue")
    assert result.verdict == "failed"
    assert {line.split(":")[0] for line in result.value_skew} == {"age"}

    moved = people(seed=3)
    moved = moved.set_column(3, "city", pyarrow.array(["Rome"] * 500))
    result = run(workspace, write(workspace, moved, "moved"), reference_profile_uri=uri, on_value_skew="continue")
    assert {line.split(":")[0] for line in result.value_skew} == {"city"}
    assert "'Rome'" in result.value_skew[0]


def validate_suite(uri: str, dataset: Dataset) -> Any:
    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.validate_data.suite import from_profile

    return from_profile(Profile.read(uri), dataset.rows)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", None),
        ("age", pyarrow.array(["45"] * 500)),
        ("city", pyarrow.array(numpy.arange(500))),
        ("member", pyarrow.array(["yes"] * 500)),
        ("joined", pyarrow.array(["2024-01-01"] * 500)),
        ("born", pyarrow.array([1980] * 500)),
        ("visits", pyarrow.array([None, *range(499)], pyarrow.int64())),
    ],
    ids=["gone", "number_as_text", "text_as_number", "boolean_as_text", "time_as_text", "date_as_number", "missing"],
)
def test_a_reference_profile_rejects_another_schema(
    workspace: Workspace, column: str, values: pyarrow.Array | None
) -> None:
    table = people()
    uri = profile(write(workspace, table, "reference").table()).write(workspace.uri("profiles") + "/profile.json")
    index = table.column_names.index(column)
    changed = table.remove_column(index) if values is None else table.set_column(index, column, values)
    with pytest.raises(RejectedError, match=rf"schema skew: .*{column}"):
        run(workspace, write(workspace, changed), reference_profile_uri=uri, on_value_skew="continue")


def expectations_in_code(columns: dict[str, str]) -> Any:
    import great_expectations.expectations as expect

    return [expect.ExpectColumnValuesToNotBeNull(column=name) for name in columns if name != "income"]


def suite_in_code() -> Any:
    import great_expectations

    expect = great_expectations.expectations
    return great_expectations.ExpectationSuite(
        name="mine", expectations=[expect.ExpectColumnMeanToBeBetween(column="age", min_value=30, max_value=60)]
    )


def nothing_in_code() -> Any:
    return []


def number_in_code() -> Any:
    return 3


def test_expectations_from_code(workspace: Workspace) -> None:
    dataset = write(workspace, people())
    assert run(workspace, dataset, suite_code=expectations_in_code).expectations == 7
    assert run(workspace, dataset, suite_code=suite_in_code).verdict == "passed"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "suite_file=None: exactly one of suite_file, suite_code and .* not 0"),
        (
            {"suite_file": "a.json", "reference_profile_uri": "b.json"},
            "reference_profile_uri='b.json': exactly one of .* not 2",
        ),
        ({"suite_file": "nowhere.json"}, "suite_file='nowhere.json': the file does not exist"),
        ({"reference_profile_uri": "nowhere.json"}, "reference_profile_uri='nowhere.json': "),
        ({"suite_code": "airflow_provider_mlops.nowhere:suite"}, "the module cannot be imported"),
        (
            {"suite_code": number_in_code},
            "suite_code='.*number_in_code': the function must return a great_expectations.*not int",
        ),
        ({"suite_code": nothing_in_code}, "suite_code=.*at least one expectation"),
        ({"suite_file": "x.json", "on_value_skew": "shout"}, "on_value_skew='shout': it must be 'fail', 'warn'"),
    ],
)
def test_a_wrong_spec(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    dataset = write(workspace, people(10))
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, dataset, **fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must contain JSON"),
        ("[]", "must contain an expectation suite"),
        (
            '{"expectations": [{"expectation_type": "expect_column_to_exist", "kwargs": {}}]}',
            "for a Great Expectations version before 1.0. Rename expectation_type to type",
        ),
        ('{"expectations": [{"type": "expect_luck", "kwargs": {}}]}', "expect_luck not found"),
        ('{"expectations": [{"type": "expect_column_to_exist", "kwargs": {}}]}', "field required"),
        (
            '{"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "severity": "loud"}]}',
            "Must be one of: critical, warning, info",
        ),
    ],
)
def test_a_wrong_suite_file(workspace: Workspace, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suite.json"
    path.write_text(text)
    with pytest.raises(InvalidSpecError, match=rf"(?s)suite_file=.*{message}"):
        run(workspace, write(workspace, people(10)), suite_file=str(path))
