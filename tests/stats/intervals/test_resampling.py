"""Counts of resampled rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.stats.intervals import resampling
from airflow_provider_mlops.stats.intervals.resampling import (
    count_rows,
    draw_counts,
    draw_subsets,
    leave_one_out_counts,
)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 99))
def test_counts_of_rows_add_up(rows: int, resamples: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(rows, size=(resamples, rows))
    counts = count_rows(indices, rows)
    assert np.all(counts.sum(axis=1) == rows)
    assert all(counts[0, row] == np.sum(indices[0] == row) for row in range(rows))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_drawn_counts_add_up_to_the_rows(rows: int, size: int, resamples: int, seed: int) -> None:
    counts = np.concatenate(list(draw_counts(rows, size, resamples, np.random.default_rng(seed))))
    assert counts.shape == (resamples, size)
    assert np.all(counts.sum(axis=1) == rows)


@pytest.mark.parametrize("size", [40, 20])
def test_every_row_is_as_likely(size: int) -> None:
    """Each count is binomial: of mean rows / size and a little less variance."""
    counts = np.concatenate(list(draw_counts(40, size, 4000, np.random.default_rng(1))))
    assert counts.mean(axis=0) == pytest.approx(40 / size, abs=0.12)
    assert counts.var(axis=0) == pytest.approx(40 / size * (1 - 1 / size), rel=0.15)


def test_much_is_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "CELLS_AT_ONCE", 50)
    assert [len(part) for part in draw_counts(20, 20, 5, np.random.default_rng(0))] == [2, 2, 1]


@settings(max_examples=15)
@given(st.integers(10_001, 200_000), st.integers(1, 60))
def test_subsets_share_the_resamples_and_repeat_no_row(rows: int, resamples: int) -> None:
    subsets = list(draw_subsets(rows, resamples, np.random.default_rng(0)))
    assert sum(number for _, number in subsets) == resamples
    for chosen, _ in subsets:
        assert len(np.unique(chosen)) == len(chosen) >= min(rows, 5_000)
        assert 0 <= chosen.min() <= chosen.max() < rows


def test_one_row_is_left_out_each_time() -> None:
    counts = leave_one_out_counts(np.array([2, 0]), 4)
    np.testing.assert_array_equal(counts.sum(axis=1), 3)
    assert (counts[0, 2], counts[1, 0]) == (0, 0)
