"""The Wasserstein distance of histograms against SciPy's of many points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from airflow_provider_mlops.stats.drift.wasserstein import (
    histogram_std,
    normalized_wasserstein_distance,
    wasserstein_distance,
)

HISTOGRAMS = (
    st.integers(1, 8)
    .flatmap(
        lambda bins: st.tuples(
            hnp.arrays(np.float64, bins + 1, elements=st.floats(-100, 100)).map(np.sort),
            hnp.arrays(np.int64, bins, elements=st.integers(0, 50)),
            hnp.arrays(np.int64, bins, elements=st.integers(0, 50)),
        )
    )
    .filter(lambda drawn: bool(drawn[1].sum() and drawn[2].sum()))
)
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@given(HISTOGRAMS)
def test_agrees_with_scipys_of_points_spread_over_the_bins(drawn: Drawn) -> None:
    """Oracle: `scipy.stats.wasserstein_distance` of 400 weighted points a bin, near by the width of their spacing."""
    edges, reference, current = drawn
    points = 400
    inside = (np.arange(points) + 0.5) / points
    positions = (edges[:-1, None] + np.diff(edges)[:, None] * inside).ravel()
    expected = stats.wasserstein_distance(
        positions, positions, np.repeat(reference, points), np.repeat(current, points)
    )
    assert wasserstein_distance(*drawn) == pytest.approx(expected, abs=np.diff(edges).max() / points + 1e-9)


@given(HISTOGRAMS, st.floats(0.1, 10), st.floats(-50, 50))
def test_is_symmetric_and_goes_with_the_units(drawn: Drawn, factor: float, shift: float) -> None:
    edges, reference, current = drawn
    distance = wasserstein_distance(*drawn)
    assert wasserstein_distance(edges, current, reference) == pytest.approx(distance, abs=1e-9)
    assert wasserstein_distance(edges * factor + shift, reference, current) == pytest.approx(
        distance * factor, abs=1e-7
    )
    assert wasserstein_distance(edges, reference, 3 * reference) == pytest.approx(0, abs=1e-12)


def test_a_shift_is_measured_in_deviations() -> None:
    edges = np.linspace(-8, 8, 400)
    first, second = (np.diff(stats.norm.cdf(edges, shift)) for shift in (0.0, 0.5))
    assert normalized_wasserstein_distance(edges, first, second) == pytest.approx(0.5, abs=1e-3)
    assert histogram_std(edges, first) == pytest.approx(1, abs=1e-3)


def test_a_constant_reference() -> None:
    assert normalized_wasserstein_distance([1, 1, 2], [5, 0], [5, 0]) == 0
    assert normalized_wasserstein_distance([1, 1, 2], [5, 0], [0, 5]) == float("inf")


@pytest.mark.parametrize(
    ("edges", "counts"), [([0, 1], [1, 2]), ([1, 0, 2], [1, 2]), ([0, 1, float("inf")], [1, 2]), ([0, 1, 2], [0, 0])]
)
def test_what_is_no_histogram_is_refused(edges: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match=r"edges|rows"):
        wasserstein_distance(edges, counts, counts)
