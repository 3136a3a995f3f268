"""Ids of predictions: they are valid, differ, and sort by time."""

from __future__ import annotations

import time

import pytest
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


def test_an_id_shows_to_which_model_it_belongs() -> None:
    names = {model: prediction_id.new(model) for model in ("churn", "Churn", "fraud", "", "modèle")}
    for model, name in names.items():
        rows = prediction_id.of_rows(name, 3)
        assert prediction_id.other_model([name, *rows], [model]) is None
        for other in names.keys() - {model}:
            assert prediction_id.other_model(rows, [other]) == rows[0]
            assert prediction_id.other_model([names[other], name], [other]) == name
    assert prediction_id.other_model(names.values(), names) is None
    assert prediction_id.other_model(["0190a5d3c1f2" + "0" * 20], names) is not None


def test_ids_stay_in_order_and_unique_when_the_clock_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_id, "_latest", 0)
    hour = 3_600 * 10**9
    now = time.time_ns()
    ids = []
    for moment in (now, now + hour, now - 24 * hour, now, now + hour + 10**6, now + 2 * hour):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        ids.append([prediction_id.new() for _ in range(300)])
    times = [{name[:12] for name in part} for part in ids]
    assert [len(part) for part in times] == [1] * 6
    order = [part.pop() for part in times]
    assert order == sorted(order)
    # While the clock is behind, the latest time is kept; afterwards, ids follow the clock again.
    assert order[1] == order[2] == order[3] < order[4] < order[5]
    assert len({name for part in ids for name in part}) == 1800
