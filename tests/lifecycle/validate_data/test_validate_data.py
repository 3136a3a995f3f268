"""Data validation with the real Great Expectations and the real MLflow."""

from __future__ import annotations

import datetime
import html.parser
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.validate_data import engine as validate_data_engine
from airflow_provider_mlops.lifecycle.validate_data.spec import ValidateDataResult
from airflow_provider_mlops.lifecycle.validate_data.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace


def write(workspace: Workspace, table: pyarrow.Table, name: str = "people") -> Dataset:
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(table)
        return writer.commit()


def people(rows: int = 500, seed: int = 0) -> pyarrow.Table:
    random = numpy.random.default_rng(seed)
    age = random.normal(45, 12, rows).clip(18, 90)
    return pyarrow.table(
        {
            "age": age,
            "income": pyarrow.array(random.lognormal(10, 1, rows), mask=random.random(rows) < 0.1),
            "visits": random.integers(0, 15, rows),
            "city": random.choice(["Ulm", "Bonn", "Kiel"], rows, p=[0.5, 0.3, 0.2]),
            "member": random.random(rows) < 0.3,
            "joined": pyarrow.array(
                [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * rows, pyarrow.timestamp("us", tz="UTC")
            ),
            "born": pyarrow.array([datetime.date(1980, 1, 1)] * rows),
            "balance": pyarrow.array([Decimal("1.50"), Decimal("2.50")] * (rows // 2), pyarrow.decimal128(10, 2)),
        }
    )


def suite_file(tmp_path: Path, *expectations: dict[str, Any]) -> str:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "people", "expectations": list(expectations), "meta": {}}))
    return str(path)


def between(column: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    kwargs = {"column": column, "min_value": low, "max_value": high, **more.pop("kwargs", {})}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **more}


def run(workspace: Workspace, dataset: Dataset, **fields: Any) -> ValidateDataResult:
    return STEP.run(STEP.parse({"dataset": dataset, **fields}), workspace)


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


def test_a_dataset_without_a_manifest_is_invalid(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write(workspace, people(10))
    Path(dataset.uri, "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="manifest"):
        run(workspace, dataset, suite_file=suite_file(tmp_path, between("age", 0, 120)))


class ActiveContent(html.parser.HTMLParser):
    """Everything in a page that a browser would run or load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object", "embed", "base"):
            self.items.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "src" or "://" in (value or ""):
                self.items.append(f"{tag} {name}={value}")


def test_data_docs_are_self_contained_and_safe(workspace: Workspace, tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    table = pyarrow.table({"city": ["Ulm", attack], attack: [1, 2]})
    suite = suite_file(
        tmp_path,
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "city", "value_set": ["Ulm", "<b onclick=steal()>"]},
            "severity": "warning",
        },
        between(attack, 0, 1, severity="warning"),
    )
    result = run(workspace, write(workspace, table), suite_file=suite)
    assert result.data_docs_uri.endswith("/index.html")
    for page in ("index.html", "expectations.html"):
        text = (Path(result.data_docs_uri).parent / page).read_text()
        active = ActiveContent()
        active.feed(text)
        assert active.items == []
        assert "url(" not in text
        assert "@import" not in text
        assert "&lt;b onclick=steal()&gt;" in text
    index = Path(result.data_docs_uri).read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in index


def test_data_docs_show_what_was_observed(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    suite = suite_file(
        tmp_path,
        {"type": "expect_column_median_to_be_between", "kwargs": {"column": "age", "min_value": 40, "max_value": 50}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "age", "max_value": 90}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        between("age", 30, 60, severity="info"),
    )
    result = run(workspace, write(workspace, people()), suite_file=suite)
    text = Path(result.data_docs_uri).read_text()
    median = numpy.median(numpy.asarray(people()["age"]))
    assert f"≈{median:.10g}" in text
    assert "An unexpected Exception" not in caplog.text


def test_a_retry_replaces_docs_and_continues_the_run(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write(workspace, people())
    suite = suite_file(tmp_path, between("age", 0, 120))
    first, second = (run(workspace, dataset, suite_file=suite) for _ in range(2))
    assert first == second


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
