"""How far a histogram has to be moved to become another, in deviations of the reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.drift.counts import Counts, count_pair


def wasserstein_distance(edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""The first Wasserstein distance between two histograms with the same edges, rows lying evenly in each bin.

    .. math:: W_1 = \int |F(x) - G(x)|\,dx

    Vallender (1974), *Calculation of the Wasserstein distance between probability distributions on the line*, Theory
    of Probability and its Applications 18(4). Between edges both distribution functions are straight, so the
    integral is exact for the histograms. Bins of no width hold a single value.

    Parameters
    ----------
    edges
        In ascending order, finite, of shape `(bins + 1,)`. Rows outside have to be counted in the end bins.
    reference_counts, current_counts
        Counts of shape `(bins,)`, with rows on both sides.

    Returns
    -------
    The distance in the feature's own units.

    Raises
    ------
    ValueError
        If a side has no rows, or the edges are not ascending or do not fit.

    >>> wasserstein_distance([0, 1, 2, 3], [10, 0, 0], [0, 0, 5])
    2.0
    """
    borders, reference, current = _checked(edges, reference_counts, current_counts)
    gap = np.concatenate([[0.0], np.cumsum(reference / reference.sum() - current / current.sum())])
    width = np.diff(borders)
    left, right = np.abs(gap[:-1]), np.abs(gap[1:])
    crosses = gap[:-1] * gap[1:] < 0
    # Where the gap changes its sign there are two triangles instead of a trapezium.
    total = np.where(crosses, left + right, 1.0)
    area = np.where(crosses, (left**2 + right**2) / (2 * total), (left + right) / 2)
    return float(np.sum(area * width))


def normalised_wasserstein_distance(
    edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike, std: float | None = None
) -> float:
    """`wasserstein_distance` in standard deviations of the reference: 0.5 for a shift by half a deviation.

    Parameters
    ----------
    edges, reference_counts, current_counts
        As for `wasserstein_distance`.
    std
        Of the reference, from its profile; taken from the histogram if None. If it is 0, the distance is 0 where
        nothing moved, and infinite otherwise.

    >>> normalised_wasserstein_distance([0, 1, 2, 3], [10, 0, 0], [0, 0, 5], std=4.0)
    0.5
    """
    distance = wasserstein_distance(edges, reference_counts, current_counts)
    scale = histogram_deviation(edges, reference_counts) if std is None else std
    if scale < 0:
        raise ValueError(f"deviation must not be negative, not {scale}")
    if distance == 0:
        return 0.0
    return distance / scale if scale > 0 else float("inf")


def histogram_deviation(edges: ArrayLike, counts: ArrayLike) -> float:
    """Standard deviation of a histogram whose rows lie evenly in each bin.

    >>> round(histogram_deviation([0, 1], [10]), 4)
    0.2887
    """
    borders, reference, _ = _checked(edges, counts, counts)
    share = reference / reference.sum()
    middle, width = (borders[:-1] + borders[1:]) / 2, np.diff(borders)
    mean = np.sum(share * middle)
    return float(np.sqrt(np.sum(share * ((middle - mean) ** 2 + width**2 / 12))))


def _checked(edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[Counts, Counts, Counts]:
    reference, current = count_pair(reference_counts, current_counts)
    borders = np.asarray(edges, dtype=np.float64)
    if borders.shape != (reference.size + 1,):
        raise ValueError(f"{reference.size} bins need {reference.size + 1} edges, not {borders.shape}")
    if not np.all(np.isfinite(borders)) or np.any(np.diff(borders) < 0):
        raise ValueError("edges must be finite and ascending")
    if not reference.sum() or not current.sum():
        raise ValueError("there must be rows on both sides")
    return borders, reference, current
