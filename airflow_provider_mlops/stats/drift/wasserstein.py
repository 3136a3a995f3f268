"""Wasserstein distance between two histograms: how far, on average, rows must move to turn one into the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_not_negative
from airflow_provider_mlops.stats.drift.counts import validate_count_pair


def wasserstein_distance(edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""Return the first Wasserstein distance between two histograms with the same edges.

    .. math:: W_1 = \int |F(x) - G(x)|\,dx

    Rows are taken to be spread evenly in each bin. Between edges both distribution functions are then straight lines,
    so the integral is exact. Bins of width zero hold a single value. Vallender (1974), *Calculation of the Wasserstein
    distance between probability distributions on the line*, Theory of Probability and its Applications 18(4).

    Parameters
    ----------
    edges
        Finite edges in ascending order, shape `(bins + 1,)`. Count rows outside in the first and last bin.
    reference_counts, current_counts
        Counts, shape `(bins,)`, with rows in both samples.

    Returns
    -------
    float
        The distance in the units of the feature.

    Raises
    ------
    ValueError
        If a sample has no rows, or the edges are not ascending or do not fit the counts.

    Examples
    --------
    >>> wasserstein_distance([0, 1, 2, 3], [10, 0, 0], [0, 0, 5])
    2.0
    """
    borders, reference, current = _validate(edges, reference_counts, current_counts)
    gap = np.concatenate([[0.0], np.cumsum(reference / reference.sum() - current / current.sum())])
    width = np.diff(borders)
    left, right = np.abs(gap[:-1]), np.abs(gap[1:])
    crosses = gap[:-1] * gap[1:] < 0
    # If the gap changes its sign within a bin, there are two triangles instead of a trapezoid.
    total = np.where(crosses, left + right, 1.0)
    area = np.where(crosses, (left**2 + right**2) / (2 * total), (left + right) / 2)
    return float(np.sum(area * width))


def normalized_wasserstein_distance(
    edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike, std: float | None = None
) -> float:
    """Return `wasserstein_distance` divided by the standard deviation of the reference.

    Parameters
    ----------
    edges, reference_counts, current_counts
        As for `wasserstein_distance`.
    std
        Standard deviation of the reference, for example from its profile; computed from the histogram if None. If it is
        0, the result is 0 if nothing moved, and infinite otherwise.

    Examples
    --------
    >>> normalized_wasserstein_distance([0, 1, 2, 3], [10, 0, 0], [0, 0, 5], std=4.0)
    0.5
    """
    distance = wasserstein_distance(edges, reference_counts, current_counts)
    scale = histogram_std(edges, reference_counts) if std is None else std
    check_not_negative(std=scale)
    if distance == 0:
        return 0.0
    return distance / scale if scale > 0 else float("inf")


def histogram_std(edges: ArrayLike, counts: ArrayLike) -> float:
    """Return the standard deviation of a histogram whose rows are spread evenly in each bin.

    >>> round(histogram_std([0, 1], [10]), 4)
    0.2887
    """
    borders, reference, _ = _validate(edges, counts, counts)
    proportion = reference / reference.sum()
    middle, width = (borders[:-1] + borders[1:]) / 2, np.diff(borders)
    mean = np.sum(proportion * middle)
    return float(np.sqrt(np.sum(proportion * ((middle - mean) ** 2 + width**2 / 12))))


def _validate(
    edges: ArrayLike, reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    reference, current = validate_count_pair(reference_counts, current_counts)
    borders = np.asarray(edges, dtype=np.float64)
    if borders.shape != (reference.size + 1,):
        raise ValueError(f"{reference.size} bins need {reference.size + 1} edges, got shape {borders.shape}")
    if not np.all(np.isfinite(borders)) or np.any(np.diff(borders) < 0):
        raise ValueError("edges must be finite and in ascending order")
    if not reference.sum() or not current.sum():
        raise ValueError(
            f"both samples must have rows, got {reference.sum():g} reference rows and {current.sum():g} current rows"
        )
    return borders, reference, current
