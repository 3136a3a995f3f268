"""Pooling of cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_provider_mlops.stats.drift.counts import pool_cells, validate_count_pair

PAIRS = st.integers(1, 30).flatmap(
    lambda cells: st.tuples(
        hnp.arrays(np.int64, cells, elements=st.integers(0, 500)),
        hnp.arrays(np.int64, cells, elements=st.integers(0, 500)),
    )
)


@given(PAIRS, st.booleans())
def test_pooling_loses_no_row_and_leaves_no_small_cell(pair: tuple[np.ndarray, np.ndarray], ordered: bool) -> None:
    reference, current = pool_cells(*pair, ordered=ordered)
    assert (reference.sum(), current.sum()) == (pair[0].sum(), pair[1].sum())
    smaller, total = min(reference.sum(), current.sum()), reference.sum() + current.sum()
    if reference.size > 1:
        assert np.all((reference + current) * smaller / total >= 5 - 1e-9)


@given(PAIRS, st.booleans())
def test_pooling_treats_both_samples_alike(pair: tuple[np.ndarray, np.ndarray], ordered: bool) -> None:
    there, back = pool_cells(*pair, ordered=ordered), pool_cells(*pair[::-1], ordered=ordered)
    np.testing.assert_array_equal(there[0], back[1])
    np.testing.assert_array_equal(there[1], back[0])


def test_ordered_pooling_joins_neighbours_only() -> None:
    reference, current = pool_cells([1, 100, 100, 1, 1, 100], [1, 100, 100, 1, 1, 100], ordered=True)
    assert reference.tolist() == [101, 100, 102]
    assert current.tolist() == [101, 100, 102]


def test_unordered_pooling_joins_the_rare_ones() -> None:
    reference, _ = pool_cells([100, 3, 100, 2, 1], [100, 3, 100, 2, 1], ordered=False)
    assert sorted(reference.tolist()) == [6, 100, 100]


@pytest.mark.parametrize(
    ("reference", "current"), [([1, -1], [1, 1]), ([1, float("nan")], [1, 1]), ([1, 2], [1, 2, 3]), ([[1]], [[1]])]
)
def test_what_are_not_counts_is_refused(reference: list[float], current: list[float]) -> None:
    with pytest.raises(ValueError, match="counts"):
        validate_count_pair(reference, current)
