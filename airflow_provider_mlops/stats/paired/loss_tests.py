"""Tests of which model has smaller losses on the same rows: Student's paired t and Wilcoxon's signed-rank test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.intervals.mean import mean_interval_from_moments


@dataclass(frozen=True, slots=True)
class LossTestResult:
    """The result of a paired test on losses.

    Parameters
    ----------
    gain
        Loss of the champion minus loss of the candidate: the mean, or the pseudo-median for the signed-rank test.
    statistic, p_value
        Statistic and two-sided p value of the test.
    low, high
        Student's confidence interval of the mean gain, for both tests.
    rows
        Number of rows compared.
    """

    gain: float
    statistic: float
    p_value: float
    low: float
    high: float
    rows: int


def paired_t_test(candidate_losses: ArrayLike, champion_losses: ArrayLike, confidence: float = 0.95) -> LossTestResult:
    r"""Test the mean gain with Student's paired test: :math:`t = \bar d / (s_d/\sqrt n)` on n - 1 degrees of freedom.

    Student (1908), *The probable error of a mean*, Biometrika 6(1), section 9. Use it if the mean loss is what counts.
    With a hundred rows or more, the distribution of the losses hardly matters.

    Parameters
    ----------
    candidate_losses, champion_losses
        Finite losses, shape `(rows,)`, at least two rows.
    confidence
        Confidence level of the interval, between 0 and 1.

    Examples
    --------
    >>> test = paired_t_test([1.0, 2.0, 3.0, 2.0], [1.5, 2.5, 3.0, 3.0])
    >>> test.gain, round(test.statistic, 3), round(test.p_value, 3)
    (0.5, 2.449, 0.092)
    """
    gains = _validated_gains(candidate_losses, champion_losses)
    mean, std = float(gains.mean()), float(gains.std(ddof=1))
    error = std / float(np.sqrt(gains.size))
    statistic = mean / error if error > 0 else (0.0 if mean == 0 else float(np.copysign(np.inf, mean)))
    p_value = float(2 * stats.t.sf(abs(statistic), gains.size - 1))
    return LossTestResult(
        mean, statistic, p_value, *mean_interval_from_moments(mean, std, gains.size, confidence), gains.size
    )


def wilcoxon_test(candidate_losses: ArrayLike, champion_losses: ArrayLike, confidence: float = 0.95) -> LossTestResult:
    """Test whether gains are symmetric around zero with Wilcoxon's signed-rank test.

    Wilcoxon (1945), *Individual comparisons by ranking methods*, Biometrics Bulletin 1(6); ties and zeros as in Pratt
    (1959), *Remarks on zeros and ties in the Wilcoxon signed rank procedures*, JASA 54(287). Use it if a few very large
    losses would dominate the mean. Up to 2000 rows the gain is the median of the means of all pairs of gains, Hodges
    and Lehmann (1963), *Estimates of location based on rank tests*, Annals of Mathematical Statistics 34(2); with more
    rows it is the median of the gains.

    Parameters
    ----------
    candidate_losses, champion_losses
        Finite losses, shape `(rows,)`, at least two rows.
    confidence
        Confidence level of the interval of the mean gain, between 0 and 1.

    Examples
    --------
    >>> test = wilcoxon_test([1.0, 2.0, 3.0, 2.0, 5.0, 1.0], [1.5, 2.6, 3.1, 3.2, 5.9, 1.8])
    >>> round(test.gain, 2), test.p_value
    (0.7, 0.03125)
    """
    gains = _validated_gains(candidate_losses, champion_losses)
    interval = mean_interval_from_moments(float(gains.mean()), float(gains.std(ddof=1)), gains.size, confidence)
    if not gains.any():
        return LossTestResult(0.0, 0.0, 1.0, *interval, gains.size)
    test = stats.wilcoxon(gains, zero_method="pratt")
    return LossTestResult(_pseudo_median(gains), float(test.statistic), float(test.pvalue), *interval, gains.size)


def _pseudo_median(gains: Floats) -> float:
    if gains.size > 2000:
        return float(np.median(gains))
    first, second = np.triu_indices(gains.size)
    return float(np.median((gains[first] + gains[second]) / 2))


def _validated_gains(candidate_losses: ArrayLike, champion_losses: ArrayLike) -> Floats:
    candidate, champion = np.asarray(candidate_losses, np.float64), np.asarray(champion_losses, np.float64)
    if candidate.ndim != 1 or candidate.shape != champion.shape or candidate.size < 2:
        raise ValueError(
            "candidate_losses and champion_losses must be one-dimensional, with at least two values, and of equal "
            f"length, got shapes {candidate.shape} and {champion.shape}"
        )
    gains = (champion - candidate).reshape(-1)
    if not np.all(np.isfinite(gains)):
        raise ValueError("candidate_losses and champion_losses must be finite")
    return gains
