"""The fingerprint depends on the rows as a bag, and on every value of them."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal

import numpy
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.data.fingerprint import Fingerprint, hash_values

SCHEMA = pyarrow.schema(
    {"whole": "int64", "fraction": "float64", "text": "string", "truth": "bool", "time": pyarrow.timestamp("us")}
)
row = st.fixed_dictionaries(
    {
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "fraction": st.none() | st.floats(),
        "text": st.none() | st.text(max_size=12),
        "truth": st.none() | st.booleans(),
        "time": st.none() | st.datetimes(),
    }
)
rows = st.lists(row, min_size=1, max_size=40)


def of(rows: list[dict[str, object]], batch: int = 1000) -> str:
    fingerprint = Fingerprint()
    table = pyarrow.Table.from_pylist(rows, schema=SCHEMA)
    for start in range(0, len(rows), batch):
        fingerprint.update(table.slice(start, batch))
    return fingerprint.hexdigest()


@settings(max_examples=80, deadline=None)
@given(rows=rows, batch=st.integers(1, 40), seed=st.integers(0, 100))
def test_neither_order_nor_batches_matter(rows: list[dict[str, object]], batch: int, seed: int) -> None:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    assert of(shuffled, batch) == of(rows)


@settings(max_examples=80, deadline=None)
@given(rows=rows, other=row, data=st.data())
def test_one_changed_value_changes_it(
    rows: list[dict[str, object]], other: dict[str, object], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    changed = [dict(one) for one in rows]
    changed[place][name] = other[name]
    old, new = rows[place][name], other[name]
    same = old == new and type(old) is type(new)
    same |= isinstance(old, float) and isinstance(new, float) and old != old and new != new
    assert (of(changed) == of(rows)) is same


@settings(max_examples=40, deadline=None)
@given(rows=rows)
def test_a_repeated_row_counts(rows: list[dict[str, object]]) -> None:
    assert of([*rows, rows[0]]) != of(rows)


@settings(max_examples=40, deadline=None)
@given(one=rows, other=rows)
def test_fingerprints_of_parts_add_up(one: list[dict[str, object]], other: list[dict[str, object]]) -> None:
    sums = [Fingerprint(), Fingerprint()]
    for fingerprint, part in zip(sums, (one, other), strict=True):
        fingerprint.update(pyarrow.Table.from_pylist(part, schema=SCHEMA))
    sums[0].add(sums[1])
    assert sums[0].hexdigest() == of([*one, *other])


def test_values_that_swap_columns_or_rows_change_it() -> None:
    def digest(**columns: list[object]) -> str:
        fingerprint = Fingerprint()
        fingerprint.update(pyarrow.table(columns))
        return fingerprint.hexdigest()

    assert digest(a=[1, 2], b=[3, 4]) != digest(a=[3, 4], b=[1, 2])
    assert digest(a=[1, 2], b=[3, 4]) != digest(a=[1, 2], b=[4, 3])
    assert digest(a=["ab"], b=["c"]) != digest(a=["a"], b=["bc"])
    assert digest(a=[1]) != digest(a=[1.0])
    assert digest(a=[1]) != digest(b=[1])
    assert digest(a=[""]) != digest(a=pyarrow.array([None], "string"))


@pytest.mark.parametrize(
    "values",
    [
        pyarrow.array([Decimal("1.10"), None, Decimal("2.00")]),
        pyarrow.array([datetime.date(2026, 1, 1), None]),
        pyarrow.array([datetime.time(1, 2), None]),
        pyarrow.array([datetime.timedelta(1), None]),
        pyarrow.array([b"a", None, b""]),
        pyarrow.array(["a", None], "large_string"),
        pyarrow.array([[1, 2], None, []]),
        pyarrow.array([{"a": 1}, None]),
        pyarrow.array(["x", None, "x"]).dictionary_encode(),
        pyarrow.array([1, None], "uint8"),
        pyarrow.nulls(2),
    ],
    ids=lambda values: str(values.type),
)
def test_every_type_has_hashes_that_only_depend_on_the_value(values: pyarrow.Array) -> None:
    whole = hash_values(values)
    for place in range(len(values)):
        assert hash_values(values.slice(place, 1))[0] == whole[place]
    present = [hash_ for hash_, value in zip(whole.tolist(), values.to_pylist(), strict=True) if value is not None]
    distinct = {repr(value) for value in values.to_pylist() if value is not None}
    assert len(set(present)) == len(distinct)


def test_hashes_of_text_do_not_collide() -> None:
    texts = pyarrow.array([f"customer-{index}" for index in range(200_000)])
    assert len(numpy.unique(hash_values(texts))) == 200_000


def test_it_stays_what_it_is_between_versions() -> None:
    rows = [
        {"whole": 1, "fraction": 0.5, "text": "a", "truth": True, "time": datetime.datetime(2026, 1, 1)},
        {"whole": None, "fraction": None, "text": "ü", "truth": None, "time": None},
    ]
    # Written down once: manifests keep fingerprints for years.
    assert of(rows) == "12a08f568f321e7d357f0e8146708bfd"
