"""Confidence intervals for a mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.checks import check_confidence, check_not_negative
from airflow_provider_mlops.stats.intervals.interval import Interval


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Return Student's interval for the mean of independent values: :math:`\bar x \pm t_{n-1} s/\sqrt n`.

    Student (1908), *The probable error of a mean*, Biometrika 6(1).

    Parameters
    ----------
    values
        At least two finite values, shape `(rows,)`.
    confidence
        Confidence level, between 0 and 1.

    Examples
    --------
    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0, 4.0])]
    [0.446, 4.554]
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size < 2 or not np.all(np.isfinite(sample)):
        raise ValueError(f"values must be a vector of at least two finite numbers, got shape {sample.shape}")
    return mean_interval_from_moments(float(sample.mean()), float(sample.std(ddof=1)), sample.size, confidence)


def mean_interval_from_moments(mean: float, std: float, rows: int, confidence: float = 0.95) -> Interval:
    """Return `mean_interval` from a mean and a standard deviation that were computed elsewhere.

    Parameters
    ----------
    mean, std
        Mean and standard deviation of the sample, the latter with divisor `rows - 1`.
    rows
        Number of values, at least 2.
    confidence
        Confidence level, between 0 and 1.

    Examples
    --------
    >>> [round(end, 2) for end in mean_interval_from_moments(10.0, 2.0, 100)]
    [9.6, 10.4]
    """
    check_confidence(confidence)
    check_not_negative(std=std)
    if rows < 2:
        raise ValueError(f"rows must be at least 2, got {rows}")
    half = float(stats.t.isf((1 - confidence) / 2, rows - 1)) * std / float(np.sqrt(rows))
    return Interval(mean - half, mean + half)
