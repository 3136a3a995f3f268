"""DeLong's test of whether two scores have the same area under the ROC curve on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval


@dataclass(frozen=True, slots=True)
class DeLongResult:
    """The result of DeLong's test.

    Parameters
    ----------
    candidate_auc, champion_auc
        Area under each ROC curve.
    gain
        Area of the candidate minus area of the champion.
    standard_error
        Standard error of the gain.
    statistic, p_value
        The gain in standard errors, and the two-sided p value.
    low, high
        Confidence interval of the gain.
    """

    candidate_auc: float
    champion_auc: float
    gain: float
    standard_error: float
    statistic: float
    p_value: float
    low: float
    high: float


def delong_test(
    positive: ArrayLike, candidate_scores: ArrayLike, champion_scores: ArrayLike, confidence: float = 0.95
) -> DeLongResult:
    """Compare the areas under two ROC curves that were measured on the same rows.

    If the areas are equal, the gain divided by its standard error is standard normal. The covariance is that of
    `auc_covariance`. DeLong, DeLong and Clarke-Pearson (1988), *Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach*, Biometrics 44(3).

    Parameters
    ----------
    positive
        Whether each row is of the positive class, shape `(rows,)`; at least two rows of each class.
    candidate_scores, champion_scores
        Scores, larger for rows more likely to be positive, shape `(rows,)`.
    confidence
        Confidence level of the interval, between 0 and 1.

    Examples
    --------
    >>> positive = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> test = delong_test(positive, [1, 2, 3, 5, 4, 6, 7, 8], [1, 6, 3, 5, 2, 4, 7, 8])
    >>> round(test.candidate_auc, 4), round(test.champion_auc, 4), round(test.p_value, 3)
    (0.9375, 0.6875, 0.157)
    """
    check_confidence(confidence)
    scores = np.stack([np.asarray(candidate_scores, np.float64), np.asarray(champion_scores, np.float64)])
    areas, covariance = auc_covariance(positive, scores)
    gain = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Scores that rank the rows alike differ by rounding at most.
    error = float(np.sqrt(variance)) if variance > 1e-14 * (covariance[0, 0] + covariance[1, 1]) else 0.0
    statistic = gain / error if error > 0 else _infinite_statistic(gain)
    half = float(stats.norm.isf((1 - confidence) / 2)) * error
    return DeLongResult(
        candidate_auc=float(areas[0]),
        champion_auc=float(areas[1]),
        gain=gain,
        standard_error=error,
        statistic=statistic,
        p_value=float(2 * stats.norm.sf(abs(statistic))),
        low=gain - half,
        high=gain + half,
    )


def _infinite_statistic(gain: float) -> float:
    return 0.0 if abs(gain) < 1e-12 else float(np.copysign(np.inf, gain))


def auc_interval(positive: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> tuple[float, Interval]:
    """Return the area under one ROC curve and its interval, limited to the range from 0 to 1.

    Parameters
    ----------
    positive, scores
        Shape `(rows,)`, as for `delong_test`.
    confidence
        Confidence level of the interval, between 0 and 1.

    Examples
    --------
    >>> area, interval = auc_interval([0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 5, 4, 6, 7, 8])
    >>> area, round(interval.low, 3), interval.high
    (0.9375, 0.764, 1.0)
    """
    check_confidence(confidence)
    areas, covariance = auc_covariance(positive, np.asarray(scores, np.float64)[None, :])
    half = float(stats.norm.isf((1 - confidence) / 2) * np.sqrt(covariance[0, 0]))
    area = float(areas[0])
    return area, Interval(max(0.0, area - half), min(1.0, area + half))


def auc_covariance(positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    r"""Compute the areas under the ROC curves of several scores on the same rows, and their covariance matrix.

    With midranks :math:`T` of a row among all rows and :math:`T^X, T^Y` among its own class, the structural components
    are :math:`V_{10} = (T - T^X)/n` and :math:`V_{01} = 1 - (T - T^Y)/m`, and the covariance is :math:`S_{10}/m +
    S_{01}/n`. Sun and Xu (2014), *Fast implementation of DeLong's algorithm for comparing the areas under correlated
    receiver operating characteristic curves*, IEEE Signal Processing Letters 21(11): :math:`O(N \log N)` instead of
    :math:`O(mn)`.

    Parameters
    ----------
    positive
        Whether each row is of the positive class, shape `(rows,)`.
    scores
        Shape `(models, rows)`.

    Returns
    -------
    tuple of Floats
        Areas, shape `(models,)`, and covariances, shape `(models, models)`.

    Examples
    --------
    >>> areas, covariance = auc_covariance([0, 0, 1, 1], [[1, 2, 3, 4]])
    >>> areas, covariance
    (array([1.]), array([[0.]]))
    """
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or labels.shape != values.shape[1:]:
        raise ValueError(f"scores must have shape (models, {labels.size}) for {labels.size} rows, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError("scores must not be NaN")
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if min(positives, negatives) < 2:
        raise ValueError(f"each class must have at least two rows, got {positives} positive and {negatives} negative")
    ranks = stats.rankdata(values, axis=1)
    of_positives = (ranks[:, labels] - stats.rankdata(values[:, labels], axis=1)) / negatives
    of_negatives = 1 - (ranks[:, ~labels] - stats.rankdata(values[:, ~labels], axis=1)) / positives
    covariance = np.cov(of_positives) / positives + np.cov(of_negatives) / negatives
    return of_positives.mean(axis=1), np.atleast_2d(covariance)
