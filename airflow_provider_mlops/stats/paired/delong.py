"""DeLong's test: which of two scores has the larger area under the ROC curve on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from airflow_provider_mlops.stats.intervals.interval import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeLongTest:
    """The outcome of DeLong's test.

    Parameters
    ----------
    candidate_auc, champion_auc
        Area under either ROC curve.
    gain
        The candidate's less the champion's.
    standard_error
        Of the gain.
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
) -> DeLongTest:
    r"""Compare the areas under two ROC curves that were measured on the same rows.

    The gain over its standard error is standard normal without a difference; the covariance is that of
    `auc_covariance`. DeLong, DeLong and Clarke-Pearson (1988), *Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach*, Biometrics 44(3).

    Parameters
    ----------
    positive
        Whether the row is of the positive class, of shape `(rows,)`; two rows of each class at least.
    candidate_scores, champion_scores
        The larger, the more positive; of shape `(rows,)`.
    confidence
        Of the interval.

    Raises
    ------
    ValueError
        If shapes differ, a score is NaN, or a class has fewer than two rows.

    >>> positive = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> test = delong_test(positive, [1, 2, 3, 5, 4, 6, 7, 8], [1, 6, 3, 5, 2, 4, 7, 8])
    >>> round(test.candidate_auc, 4), round(test.champion_auc, 4), round(test.p_value, 3)
    (0.9375, 0.6875, 0.157)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    scores = np.stack([np.asarray(candidate_scores, np.float64), np.asarray(champion_scores, np.float64)])
    areas, covariance = auc_covariance(positive, scores)
    gain = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Scores that rank the rows alike differ by rounding at most.
    error = float(np.sqrt(variance)) if variance > 1e-14 * (covariance[0, 0] + covariance[1, 1]) else 0.0
    statistic = gain / error if error > 0 else _certain(gain)
    half = float(stats.norm.isf((1 - confidence) / 2)) * error
    return DeLongTest(
        candidate_auc=float(areas[0]),
        champion_auc=float(areas[1]),
        gain=gain,
        standard_error=error,
        statistic=statistic,
        p_value=float(2 * stats.norm.sf(abs(statistic))),
        low=gain - half,
        high=gain + half,
    )


def _certain(gain: float) -> float:
    return 0.0 if abs(gain) < 1e-12 else float(np.copysign(np.inf, gain))


def auc_interval(positive: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> tuple[float, Interval]:
    """The area under one ROC curve and its interval, cut off at 0 and 1.

    Parameters
    ----------
    positive, scores
        Of shape `(rows,)`, as for `delong_test`.
    confidence
        Of the interval.

    >>> area, interval = auc_interval([0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 5, 4, 6, 7, 8])
    >>> area, round(interval.low, 3), interval.high
    (0.9375, 0.764, 1.0)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    areas, covariance = auc_covariance(positive, np.asarray(scores, np.float64)[None, :])
    half = float(stats.norm.isf((1 - confidence) / 2) * np.sqrt(covariance[0, 0]))
    area = float(areas[0])
    return area, Interval(max(0.0, area - half), min(1.0, area + half))


def auc_covariance(positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    r"""Areas under the ROC curves of several scores on the same rows, and their covariance matrix.

    With midranks :math:`T` of a row among all and :math:`T^X, T^Y` among its own class, the structural components
    are :math:`V_{10} = (T - T^X)/n` and :math:`V_{01} = 1 - (T - T^Y)/m`, and the covariance is
    :math:`S_{10}/m + S_{01}/n`. Sun and Xu (2014), *Fast implementation of DeLong's algorithm for comparing the areas
    under correlated receiver operating characteristic curves*, IEEE Signal Processing Letters 21(11):
    :math:`O(N \log N)` instead of :math:`O(mn)`.

    Parameters
    ----------
    positive
        Whether the row is of the positive class, of shape `(rows,)`.
    scores
        Of shape `(models, rows)`.

    Returns
    -------
    Areas of shape `(models,)` and covariances of shape `(models, models)`.

    >>> areas, covariance = auc_covariance([0, 0, 1, 1], [[1, 2, 3, 4]])
    >>> areas, covariance
    (array([1.]), array([[0.]]))
    """
    labels, values = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or labels.shape != values.shape[1:]:
        raise ValueError(f"one score for each of {labels.size} rows and each model is needed, not {values.shape}")
    if np.isnan(values).any():
        raise ValueError("a score is NaN")
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if min(positives, negatives) < 2:
        raise ValueError(f"two rows of each class are needed, not {positives} positive and {negatives} negative ones")
    ranks = stats.rankdata(values, axis=1)
    of_positives = (ranks[:, labels] - stats.rankdata(values[:, labels], axis=1)) / negatives
    of_negatives = 1 - (ranks[:, ~labels] - stats.rankdata(values[:, ~labels], axis=1)) / positives
    covariance = np.cov(of_positives) / positives + np.cov(of_negatives) / negatives
    return of_positives.mean(axis=1), np.atleast_2d(covariance)
