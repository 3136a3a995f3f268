"""Preparation: splits that only depend on the rows and the seed, filters, features, and reuse."""

from __future__ import annotations

import datetime
import logging
from collections import Counter
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.data.dataset import Dataset, DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle import prepare_split
from airflow_provider_mlops.lifecycle.prepare import STEP, PrepareResult
from airflow_provider_mlops.lifecycle.prepare_split import Split, cumulative_sizes
from airflow_provider_mlops.lifecycle.workspace import Workspace

PARTS = ("train", "validation", "test")


def write(workspace: Workspace, table: pyarrow.Table, name: str = "rows", batches: int = 1) -> Dataset:
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        size = -(-table.num_rows // batches) or 1
        for start in range(0, table.num_rows or 1, size):
            writer.write(table.slice(start, size))
        return writer.commit()


def rows(count: int = 1000, seed: int = 0) -> pyarrow.Table:
    random = numpy.random.default_rng(seed)
    return pyarrow.table(
        {
            "id": numpy.arange(count),
            "age": random.integers(18, 90, count),
            "income": pyarrow.array(random.normal(30_000, 9_000, count), mask=random.random(count) < 0.1),
            "city": random.choice(["Ulm", "Bonn", "Kiel"], count),
            "customer": random.integers(0, 60, count),
            "at": pyarrow.array(
                numpy.datetime64("2026-01-01", "ns") + random.integers(0, 10**16, count).astype("timedelta64[ns]")
            ),
            "churned": random.choice(["yes", "no", "maybe"], count, p=[0.2, 0.75, 0.05]),
        }
    )


def run(workspace: Workspace, dataset: Dataset, **fields: Any) -> PrepareResult:
    return STEP.run(STEP.parse({"dataset": dataset, "target": "churned", "drop": ["at"], **fields}), workspace)


def another_run(workspace: Workspace, **changes: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "another", **changes})})


def ids(dataset: Dataset) -> list[int]:
    return dataset.arrow(["id"])["id"].to_pylist()


def parts(result: PrepareResult) -> list[list[int]]:
    return [ids(getattr(result, part)) for part in PARTS]


METHODS = {
    "random": {"method": "random"},
    "stratified": {"method": "stratified"},
    "stratified_by_city": {"method": "stratified", "column": "city"},
    "group": {"method": "group", "column": "customer"},
    "time": {"method": "time", "column": "at"},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_in_one_part_wherever_it_stood(workspace: Workspace, method: str) -> None:
    table = rows()
    order = numpy.random.default_rng(5).permutation(table.num_rows)
    first = run(workspace, write(workspace, table), split=METHODS[method])
    shuffled = write(another_run(workspace), table.take(order), batches=7)
    second = run(another_run(workspace), shuffled, split=METHODS[method], reuse=False)
    assert sorted(chain(*parts(first))) == list(range(1000))
    # The same rows in the same order: training that depends on the order gives the same model.
    assert parts(first) == parts(second)
    assert not second.skipped
    for part in PARTS:
        dataset = getattr(first, part)
        assert dataset.fingerprint == getattr(second, part).fingerprint
        manifest = dataset.manifest
        assert manifest.parents == (first_fingerprint(first),)
        assert manifest.created_by == workspace.task
        assert [column.name for column in manifest.columns] == [n for n in table.column_names if n != "at"]


def first_fingerprint(result: PrepareResult) -> str:
    (parent,) = {parent for part in PARTS for parent in getattr(result, part).manifest.parents}
    return parent


@pytest.mark.parametrize("method", METHODS)
def test_the_shares_are_met(workspace: Workspace, method: str) -> None:
    result = run(workspace, write(workspace, rows()), split={**METHODS[method], "validation": 0.15, "test": 0.25})
    sizes = [len(part) for part in parts(result)]
    # Five standard deviations of a binomial count where the shares are met on average only.
    tolerance = {"random": 78, "group": 18}.get(method, 0)
    assert sizes == pytest.approx([600, 150, 250], abs=tolerance)


def test_a_stratified_split_keeps_the_shares_of_every_class(workspace: Workspace) -> None:
    table = rows()
    result = run(workspace, write(workspace, table), split={"method": "stratified"})
    all_rows = Counter(table["churned"].to_pylist())
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        found = Counter(getattr(result, part).arrow()["churned"].to_pylist())
        for label, count in all_rows.items():
            assert abs(found[label] - count * share) <= 1


def test_a_group_is_in_one_part(workspace: Workspace) -> None:
    result = run(workspace, write(workspace, rows()), split=METHODS["group"])
    groups = [set(getattr(result, part).arrow()["customer"].to_pylist()) for part in PARTS]
    assert not groups[0] & groups[1]
    assert not groups[1] & groups[2]
    assert not groups[0] & groups[2]


@pytest.mark.parametrize("unit", ["ns", "us", "day", "integer"])
def test_a_split_by_time_tests_on_the_newest(workspace: Workspace, unit: str) -> None:
    table = rows()
    at = {
        "ns": table["at"],
        "us": table["at"].cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.timestamp("us", tz="UTC")),
        "day": table["at"].cast(pyarrow.date32(), safe=False),
        "integer": table["at"].cast(pyarrow.int64()),
    }[unit]
    table = table.set_column(table.column_names.index("at"), "at", at)
    kept = {} if unit == "integer" else {"preprocessing": {"code": "sklearn.preprocessing:StandardScaler"}}
    result = run(workspace, write(workspace, table), split=METHODS["time"], drop=[], **kept)
    times = [getattr(result, part).arrow()["at"].to_pylist() for part in PARTS]
    assert max(times[0]) < min(times[1])
    assert max(times[1]) < min(times[2])
    assert all(part == sorted(part) for part in times)
    assert [len(part) for part in times] == pytest.approx([600, 200, 200], abs=12 if unit == "day" else 0)


def test_another_seed_gives_another_split(workspace: Workspace) -> None:
    dataset = write(workspace, rows())
    for split in (METHODS["random"], METHODS["stratified"], METHODS["group"]):
        first, second = (parts(run(workspace, dataset, split=split, seed=seed)) for seed in (1, 2))
        assert set(first[2]) != set(second[2])


def test_a_row_stays_in_its_part_as_data_grow_and_features_come(workspace: Workspace) -> None:
    old = run(workspace, write(workspace, rows().slice(0, 700)))
    grown = run(another_run(workspace), write(another_run(workspace), rows()), features=double_income)
    for before, after in zip(parts(old), parts(grown), strict=True):
        assert set(before) == {number for number in after if number < 700}


def test_equal_rows_stay_together(workspace: Workspace) -> None:
    table = pyarrow.table({"id": [number // 10 for number in range(1000)], "churned": ["yes", "no"] * 500})
    for split in (METHODS["random"], METHODS["stratified"]):
        result = run(workspace, write(workspace, table), split=split, drop=[])
        keys = [set(map(tuple, getattr(result, part).arrow().to_pandas().to_numpy().tolist())) for part in PARTS]
        assert sum(map(len, keys)) == len(set.union(*keys)) == 200


def test_a_key_decides_alone(workspace: Workspace) -> None:
    table = rows()
    changed = table.set_column(1, "age", pyarrow.array([50] * 1000))
    first = run(workspace, write(workspace, table), split={"key": ["id"]})
    second = run(another_run(workspace), write(another_run(workspace), changed), split={"key": ["id"]})
    assert parts(first)[0] == parts(second)[0]


def test_parts_may_be_left_out(workspace: Workspace) -> None:
    result = run(workspace, write(workspace, rows()), split={"method": "stratified", "validation": 0, "test": 0.3})
    assert [result.train.rows, result.validation.rows, result.test.rows] == [700, 0, 300]
    assert result.validation.arrow().num_rows == 0
    result = run(workspace, write(workspace, rows()), split={"validation": 0, "test": 0})
    assert [result.train.rows, result.validation.rows, result.test.rows] == [1000, 0, 0]


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=30),
    st.floats(0, 0.6),
    st.floats(0, 0.39),
)
def test_sizes_add_up_whatever_the_strata(strata: list[int], validation: float, test: float) -> None:
    shares = (1 - validation - test, validation, test)
    first, second = cumulative_sizes(strata, shares)
    assert all(0 <= a <= b <= size for a, b, size in zip(first, second, strata, strict=True))
    total = sum(strata)
    assert abs((total - sum(second)) - total * test) <= 1
    assert abs(sum(first) - total * shares[0]) <= 0.5 + 1e-6
    for size, a, b in zip(strata, first, second, strict=True):
        assert abs(a - size * shares[0]) <= 1 + 1e-6
        assert abs((size - b) - size * test) <= 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=8, max_size=60))
def test_any_rows_are_split_alike_in_any_order(workspace: Workspace, pairs: list[tuple[int, int]]) -> None:
    import ibis

    split = Split(method="stratified", column="b", validation=0.25, test=0.25)
    found = []
    for ordered in (pairs, pairs[::-1]):
        table = ibis.memtable(pyarrow.table({"a": [a for a, _ in ordered], "b": [b for _, b in ordered]}))
        assigned = prepare_split.assign(table, split, "b", 3, ["a", "b"]).select("a", "b", prepare_split.PART)
        found.append(Counter(map(tuple, assigned.to_pandas().to_numpy().tolist())))
    assert found[0] == found[1]
    assert sum(found[0].values()) == len(pairs)
    # Equal rows are in one part.
    assert len({(a, b) for a, b, _ in found[0]}) == len(found[0])


def double_income(table: Any) -> Any:
    return table.mutate(double=table.income * 2)


def double_income_in_pandas(frame: Any, target: str) -> Any:
    assert target == "churned"
    return frame.assign(double=frame["income"] * 2)


def double_income_in_arrow(table: Any) -> Any:
    import pyarrow.compute

    arrow = table.to_pyarrow()
    return arrow.append_column("double", pyarrow.compute.multiply(arrow["income"], 2))


@pytest.mark.parametrize("code", [double_income, double_income_in_pandas, double_income_in_arrow])
def test_features(workspace: Workspace, code: Any) -> None:
    result = run(workspace, write(workspace, rows()), features=code, drop=["at", "city"])
    table = result.train.arrow()
    assert table.column_names == ["id", "age", "income", "customer", "churned", "double"]
    numpy.testing.assert_allclose(table["double"].to_numpy(), table["income"].to_numpy() * 2)
    # Where a row goes does not depend on how features are computed, nor on whether there are any.
    assert parts(result) == parts(run(workspace, write(workspace, rows())))


def no_table(table: Any) -> Any:
    return 3


def without_target(table: Any) -> Any:
    return table.drop("churned")


def unnamed(frame: Any) -> Any:
    return frame.rename(columns={"age": 1})


def broken(table: Any) -> Any:
    raise ZeroDivisionError("mine")


def greedy(table: Any, everything: Any) -> Any:
    return table


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (no_table, r"features='.*no_table returned int': return an Ibis table, a pandas DataFrame or an Arrow table"),
        (without_target, "target='churned': there is no such column: the columns are 'id', 'age'"),
        (unnamed, r"features=\[1\]: .*whose names are not strings"),
        (greedy, r"features='.*greedy': it requires everything; the function may only take the arguments frame, table"),
        ("airflow_provider_mlops.nowhere:features", "features='.*nowhere:features': the module cannot be imported"),
        ("math:hypot", "features='math:hypot': its arguments are not known: wrap it in a function"),
    ],
)
def test_wrong_features(workspace: Workspace, code: Any, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), features=code)


def test_a_mistake_in_features_keeps_its_type(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(workspace, write(workspace, rows(50)), features=broken)


def test_filters(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    table = rows()
    filters = ["age >= 30", "income IS NOT NULL AND city IN ('Ulm', 'Bonn')", "at > '2026-01-10' OR \"customer\" = 3"]
    with caplog.at_level(logging.INFO):
        result = run(workspace, write(workspace, table), filters=filters)
    frame = table.to_pandas()
    kept = frame[
        (frame.age >= 30)
        & frame.income.notna()
        & frame.city.isin(["Ulm", "Bonn"])
        & ((frame["at"] > "2026-01-10") | (frame.customer == 3))
    ]
    assert sorted(chain(*parts(result))) == sorted(kept.id)
    assert f"keep {len(kept)} of 1000 rows" in caplog.text


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("age >=", r"filters='age >=': it is no SQL predicate \("),
        ("agee > 3", "there is no column 'agee': did you mean 'age'"),
        ("age > 3; DROP TABLE rows", "it is no SQL predicate"),
        ("1 = 1) OR (1 = 1", "it is no SQL predicate"),
        ("age > 3 ORDER BY age", "write one condition over the row's own columns|it is no SQL predicate"),
        ("id IN (SELECT 1)", "without a sub-query"),
        ("age > avg(age)", "a filter sees one row at a time"),
        ("row_number() OVER () < 3", "a filter sees one row at a time"),
        ("city > 3", "the engine cannot compute them .*compare values of the same type"),
    ],
)
def test_wrong_filters(workspace: Workspace, predicate: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), filters=[predicate])


def test_decimals_become_floating_point(workspace: Workspace) -> None:
    table = rows(50).append_column("price", pyarrow.array([Decimal("1.50")] * 50))
    result = run(workspace, write(workspace, table))
    assert result.train.arrow()["price"].type == pyarrow.float64()
    assert result.train.arrow()["price"].to_pylist()[0] == 1.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "churn"}, "target='churn': there is no such column: did you mean 'churned'"),
        ({"drop": ["att"]}, "drop='att': there is no such column: did you mean 'at'"),
        ({"drop": ["churned"]}, "drop='churned': it is the target"),
        ({"drop": []}, r"dataset='column at of type datetime64\[\w+\]': derive numbers from it"),
        ({"split": {"key": ["idd"]}}, r"split\.key='idd': there is no such column: did you mean 'id'"),
        ({"split": {"method": "group", "column": "person"}}, r"split\.column='person': name one of the columns"),
        (
            {"split": {"method": "time", "column": "city"}},
            r"split\.column='city': a column of type string has no order",
        ),
        ({"split": {"method": "time"}}, r"split\.column=None: the method time needs the column to split by"),
        ({"split": {"method": "random", "column": "age"}}, r"split\.column='age': the method random takes no column"),
        ({"split": {"validation": 0.6, "test": 0.4}}, r"split\.validation \+ split\.test=1\.0: leave a share"),
        ({"split": {"method": "alphabetical"}}, r"split\.method='alphabetical': input should be 'random'"),
        ({"split": {"method": "group", "column": "income"}}, r"split\.column='income': \d+ rows have no value there"),
        ({"split": {"method": "stratified", "column": "id"}, "filters": ["id >= 0"]}, "1100 values, too many strata"),
    ],
)
def test_wrong_fields(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(1100)), **fields)


def test_code_is_checked_before_rows_are_read(workspace: Workspace) -> None:
    # The filter would fail too, but only when the engine computes it.
    with pytest.raises(InvalidSpecError, match=r"^preprocessing\.code='.*:greedy': it requires table, everything"):
        run(workspace, write(workspace, rows(50)), filters=["age > 'old'"], preprocessing={"code": greedy})


@pytest.mark.parametrize("name", ["mlops_part", "mlops_stratum", "mlops_first_cut"])
def test_names_that_the_split_needs_are_refused(workspace: Workspace, name: str) -> None:
    table = rows(50).append_column(name, pyarrow.array(range(50)))
    with pytest.raises(InvalidSpecError, match=rf"dataset=\['{name}'\]: these column names are used by the split"):
        run(workspace, write(workspace, table), split=METHODS["stratified"])


def test_columns_may_have_the_names_of_intermediate_results(workspace: Workspace) -> None:
    table = rows(200)
    for name in ("first_cut", "second_cut", "first", "total", "rows"):
        table = table.append_column(name, pyarrow.array(range(200)))
    assert [len(part) for part in parts(run(workspace, write(workspace, table), split=METHODS["stratified"]))] == [
        120,
        40,
        40,
    ]


def test_values_of_one_row_each_are_sampled_and_not_cut_off(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = write(workspace, rows(900))
    with caplog.at_level(logging.WARNING):
        result = run(workspace, dataset, split={"method": "stratified", "column": "id"})
    assert "900 of the 900 values of id have fewer than 3 rows" in caplog.text
    found = parts(result)
    assert [len(part) for part in found] == [540, 180, 180]
    for part in found:
        # Five standard errors of the mean of that many of the numbers 0 to 899.
        assert numpy.mean(part) == pytest.approx(449.5, abs=5 * 260 / len(part) ** 0.5)
    other = run(workspace, dataset, split={"method": "stratified", "column": "id"}, seed=1)
    assert sorted(ids(other.test)) != sorted(found[2])


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
def test_a_part_can_be_split_again(workspace: Workspace, method: str) -> None:
    split = {**METHODS[method], "validation": 0.0, "test": 0.5}
    dataset = write(workspace, rows(2000))
    sizes = []
    for level in range(3):
        task = workspace.task.model_copy(update={"task_id": f"level_{level}"})
        found = run(workspace.model_copy(update={"task": task}), dataset, split=split, drop=["at"] if not level else [])
        assert sorted(ids(found.train) + ids(found.test)) == sorted(ids(dataset))
        dataset = found.train
        sizes.append(dataset.rows)
    # Halves of halves, to within five standard deviations where the shares are met on average only.
    assert sizes == pytest.approx([1000, 500, 250], abs={"random": 110, "group": 60}.get(method, 2))


def test_a_part_without_rows_is_explained_by_the_method(workspace: Workspace) -> None:
    table = rows(60).set_column(4, "customer", pyarrow.array([1, 2] * 30))
    with pytest.raises(RejectedError, match=r"leaves none for test, .*: extract rows of more values of 'customer'"):
        run(workspace, write(workspace, table), split=METHODS["group"])


def test_rows_that_are_too_few(workspace: Workspace) -> None:
    with pytest.raises(RejectedError, match=r"the filters 'age > 1000' keep none of the 50 rows .*: loosen them"):
        run(workspace, write(workspace, rows(50)), filters=["age > 1000"])
    with pytest.raises(RejectedError, match=r"of 2 rows leaves none for \w+, whose share is \d+%: extract more rows"):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    with pytest.raises(RejectedError, match="of 0 rows leaves none for train"):
        run(workspace, write(workspace, rows(0)))


def test_half_written_and_changed_datasets(workspace: Workspace) -> None:
    dataset = write(workspace, rows(50))
    write(workspace, rows(50, seed=1))
    with pytest.raises(InvalidSpecError, match="its content changed"):
        run(workspace, dataset)
    Path(dataset.uri, "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="it has no manifest, so its writer has not finished"):
        run(workspace, dataset)


def test_nothing_is_visible_after_a_failure(workspace: Workspace) -> None:
    with pytest.raises(RejectedError):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    for part in PARTS:
        with pytest.raises(InvalidSpecError):
            Dataset.at(workspace.uri("datasets", f"rows_{part}"))


def test_work_that_was_done_before_is_skipped(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    first = run(workspace, write(workspace, rows()), features=double_income)
    later = another_run(workspace)
    # Another run, the same rows in another place and another order.
    again = write(later, rows().take(list(range(999, -1, -1))))
    with caplog.at_level(logging.INFO):
        second = run(later, again, features=double_income)
    assert not first.skipped
    assert second.skipped
    assert second.model_copy(update={"skipped": False}) == first
    assert "Skipped: the rows (fingerprint" in caplog.text
    assert workspace.task.key in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"filters": ["age > 20"]},
        {"drop": ["at", "city"]},
        {"features": double_income_in_pandas},
        {"split": METHODS["group"]},
        {"preprocessing": {"numeric_scale": None}},
        {"reuse": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_work_is_not_skipped(workspace: Workspace, change: dict[str, Any]) -> None:
    dataset = write(workspace, rows(200))
    fields: dict[str, Any] = {"features": double_income}
    run(workspace, dataset, **fields)
    assert not run(another_run(workspace), dataset, **{**fields, **change}).skipped


def test_other_rows_or_another_task_are_not_skipped(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    run(workspace, dataset)
    assert not run(another_run(workspace), write(another_run(workspace), rows(200, seed=1))).skipped
    assert not run(another_run(workspace, task_id="other"), dataset).skipped
    assert not run(another_run(workspace, map_index=2), dataset).skipped
    assert run(another_run(workspace), dataset).skipped


def test_what_is_gone_is_prepared_again(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    first = run(workspace, dataset)
    Path(first.test.files()[0]).unlink()
    second = run(another_run(workspace), dataset)
    assert not second.skipped
    assert second.test.arrow().num_rows == first.test.rows
    entry = next(Path(workspace.storage_uri, "prepared").rglob("*.json"))
    entry.write_text("{")
    assert not run(another_run(workspace), dataset).skipped


def test_a_changed_function_is_not_skipped(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import linecache
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    dataset = write(workspace, rows(200))
    skipped = []
    for factor in (2, 2, 3):
        (tmp_path / "changing_features.py").write_text(
            f"def build(table):\n    return table.mutate(b=table.age * {factor})\n"
        )
        sys.modules.pop("changing_features", None)
        importlib.invalidate_caches()
        linecache.checkcache()
        skipped.append(run(another_run(workspace), dataset, features="changing_features:build").skipped)
    sys.modules.pop("changing_features", None)
    assert skipped == [False, True, False]


def test_a_retry_replaces(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    first = run(workspace, dataset, reuse=False)
    second = run(workspace, dataset, reuse=False)
    assert first == second
    assert len(list(Path(second.train.uri).glob("*.parquet"))) == 1


def test_times_with_zones_and_missing_values_keep_their_types(workspace: Workspace) -> None:
    table = pyarrow.table(
        {
            "id": list(range(50)),
            "small": pyarrow.array([1, None] * 25, pyarrow.int16()),
            "flag": pyarrow.array([True, None] * 25),
            "text": pyarrow.array(["a", None] * 25).dictionary_encode(),
            "at": pyarrow.array(
                [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 50, pyarrow.timestamp("us", tz="UTC")
            ),
            "churned": ["yes", "no"] * 25,
        }
    )
    result = run(
        workspace, write(workspace, table), preprocessing={"code": "sklearn.preprocessing:StandardScaler"}, drop=[]
    )
    types = {field.name: str(field.type) for field in result.train.arrow().schema}
    assert types["small"] == "int16"
    assert types["flag"] == "bool"
    assert types["text"] == "string"
    assert types["at"] == "timestamp[us, tz=UTC]"
