"""Splits depend only on the rows and the seed, and have the requested shares."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain

import numpy
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.lifecycle.prepare import split as prepare_split
from airflow_provider_mlops.lifecycle.prepare.spec import PrepareResult
from airflow_provider_mlops.lifecycle.prepare.split import Split, cumulative_sizes
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.preparation import METHODS, PARTS, another_run, double_income, ids, parts, rows, run, write


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_in_one_part_in_any_order(workspace: Workspace, method: str) -> None:
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
    # Five standard deviations of a binomial count for the methods that meet the shares only on average.
    tolerance = {"random": 78, "group": 18}.get(method, 0)
    assert sizes == pytest.approx([600, 150, 250], abs=tolerance)


def test_a_stratified_split_keeps_the_shares_of_every_class(workspace: Workspace) -> None:
    table = rows()
    result = run(workspace, write(workspace, table), split={"method": "stratified"})
    all_rows = Counter(table["churned"].to_pylist())
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        counts = Counter(getattr(result, part).arrow()["churned"].to_pylist())
        for label, count in all_rows.items():
            assert abs(counts[label] - count * share) <= 1


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


def test_a_row_stays_in_its_part_as_data_grows_and_features_are_added(workspace: Workspace) -> None:
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


def test_parts_may_be_empty(workspace: Workspace) -> None:
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
def test_sizes_add_up_for_any_strata(strata: list[int], validation: float, test: float) -> None:
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
def test_any_rows_are_split_the_same_way_in_any_order(workspace: Workspace, pairs: list[tuple[int, int]]) -> None:
    import ibis

    split = Split(method="stratified", column="b", validation=0.25, test=0.25)
    splits = []
    for ordered in (pairs, pairs[::-1]):
        table = ibis.memtable(pyarrow.table({"a": [a for a, _ in ordered], "b": [b for _, b in ordered]}))
        assigned = prepare_split.assign(table, split, "b", 3, ["a", "b"]).select("a", "b", prepare_split.PART)
        splits.append(Counter(map(tuple, assigned.to_pandas().to_numpy().tolist())))
    assert splits[0] == splits[1]
    assert sum(splits[0].values()) == len(pairs)
    # Equal rows are in one part.
    assert len({(a, b) for a, b, _ in splits[0]}) == len(splits[0])


def test_columns_may_have_the_names_of_intermediate_results(workspace: Workspace) -> None:
    table = rows(200)
    for name in ("first_cut", "second_cut", "first", "total", "rows"):
        table = table.append_column(name, pyarrow.array(range(200)))
    assert [len(part) for part in parts(run(workspace, write(workspace, table), split=METHODS["stratified"]))] == [
        120,
        40,
        40,
    ]


def test_strata_of_one_row_each_are_sampled_and_not_cut_off(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = write(workspace, rows(900))
    with caplog.at_level(logging.WARNING):
        result = run(workspace, dataset, split={"method": "stratified", "column": "id"})
    assert "Each value of id with fewer than 3 rows" in caplog.text
    assert "900 of 900 values" in caplog.text
    row_ids = parts(result)
    assert [len(part) for part in row_ids] == [540, 180, 180]
    for part in row_ids:
        # Five standard errors of the mean of that many of the numbers 0 to 899.
        assert numpy.mean(part) == pytest.approx(449.5, abs=5 * 260 / len(part) ** 0.5)
    other = run(workspace, dataset, split={"method": "stratified", "column": "id"}, seed=1)
    assert sorted(ids(other.test)) != sorted(row_ids[2])


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
def test_a_part_can_be_split_again(workspace: Workspace, method: str) -> None:
    split = {**METHODS[method], "validation": 0.0, "test": 0.5}
    dataset = write(workspace, rows(2000))
    sizes = []
    for level in range(3):
        task = workspace.task.model_copy(update={"task_id": f"level_{level}"})
        result = run(
            workspace.model_copy(update={"task": task}), dataset, split=split, drop=["at"] if not level else []
        )
        assert sorted(ids(result.train) + ids(result.test)) == sorted(ids(dataset))
        dataset = result.train
        sizes.append(dataset.rows)
    # Halves of halves, to within five standard deviations where the shares are met on average only.
    assert sizes == pytest.approx([1000, 500, 250], abs={"random": 110, "group": 60}.get(method, 2))
