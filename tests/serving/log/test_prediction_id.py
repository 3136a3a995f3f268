"""Ids of predictions: they are valid, differ, and sort by time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.log import prediction_id


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**128 - 1), st.integers(1, 50))
def test_ids_of_rows_are_valid_and_different(number: int, rows: int) -> None:
    names = prediction_id.of_rows(f"{number:032x}", rows)
    assert len(set(names)) == rows
    assert all(map(prediction_id.is_valid, names))


def test_new_ids_sort_by_time_and_never_meet() -> None:
    names = [prediction_id.new() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert [name[:12] for name in names] == sorted(name[:12] for name in names)
