"""Intervals from bootstrap resamples: percentile, and bias-corrected and accelerated (BCa)."""

from __future__ import annotations

import numpy as np
from scipy import stats

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval


def bca_interval(estimate: float, resamples: Floats, jackknife: Floats, rows: int, confidence: float) -> Interval:
    """Return the bias-corrected and accelerated (BCa) interval, extended if necessary to contain the estimate.

    It is the range between two percentiles of the resamples, adjusted for bias and skewness. Efron (1987), *Better
    bootstrap confidence intervals*, JASA 82(397); Efron and Tibshirani (1993), *An Introduction to the Bootstrap*,
    section 14.3. If all resamples are on one side of the estimate, the adjustment is not defined and the percentile
    interval is returned.

    Parameters
    ----------
    estimate
        The number, computed on all rows.
    resamples
        The number on each resample, shape `(resamples,)`. Values that are not finite are ignored.
    jackknife
        The number on all rows but one, shape `(rows left out,)`. If it is empty, no skewness is assumed.
    rows
        Number of rows.
    confidence
        Nominal confidence level, between 0 and 1.

    Examples
    --------
    >>> drawn = np.random.default_rng(0).normal(5, 1, 2000)
    >>> [round(end, 1) for end in bca_interval(5.0, drawn, np.array([]), 100, 0.95)]
    [3.1, 7.0]
    """
    finite = resamples[np.isfinite(resamples)]
    corrected = None
    if finite.size:
        corrected = bca_probabilities(_tails(confidence), estimate, finite, acceleration(jackknife, rows))
    if corrected is None:
        return percentile_interval(estimate, resamples, confidence)
    return _extended_to(estimate, finite, corrected)


def percentile_interval(estimate: float, resamples: Floats, confidence: float) -> Interval:
    """Return the interval between percentiles of the finite resamples, extended if necessary to contain the estimate.

    The parameters are those of `bca_interval`. If no resample is finite, both ends are the estimate.

    >>> percentile_interval(2.0, np.array([1.0, 2.0, 3.0, np.nan]), 0.5)
    Interval(low=1.5, high=2.5)
    """
    finite = resamples[np.isfinite(resamples)]
    return _extended_to(estimate, finite, _tails(confidence)) if finite.size else Interval(estimate, estimate)


def bca_probabilities(tails: Floats, estimate: float, resamples: Floats, acceleration: float) -> Floats | None:
    r"""Return the ends of the BCa interval as percentiles of the resamples, between 0 and 1.

    .. math:: \Phi\left(z_0 + \frac{z_0 + z_\alpha}{1 - a(z_0 + z_\alpha)}\right)

    where :math:`z_0` is the normal quantile of the proportion of resamples below the estimate. Ties count half.

    Parameters
    ----------
    tails
        Nominal probabilities, shape `(ends,)`.
    estimate
        The metric on all rows.
    resamples
        The metric on each resample.
    acceleration
        One sixth of the skewness of the metric's influence function, divided by the square root of the number of rows.

    Returns
    -------
    Floats or None
        Shape `(ends,)`; None if all resamples are on one side of the estimate.

    Examples
    --------
    >>> bca_probabilities(np.array([0.025, 0.975]), 0.0, np.array([-1.0, 1.0]), 0.0)
    array([0.025, 0.975])
    """
    proportion_below = float(np.mean(resamples < estimate) + np.mean(resamples == estimate) / 2)
    if not 0 < proportion_below < 1:
        return None
    bias = stats.norm.ppf(proportion_below)
    shifted = bias + stats.norm.ppf(tails)
    # Beyond this pole the correction changes its sign and is meaningless.
    if np.any(1 - acceleration * shifted <= 0):
        return None
    corrected: Floats = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return corrected


def acceleration(jackknife: Floats, rows: int) -> float:
    r"""Return the acceleration of the BCa interval, from the metric without single rows.

    With the influence :math:`l_i` of each row it is :math:`\sum l_i^3 / 6 (\sum l_i^2)^{3/2}`. The rows that were left
    out can be all rows or a random sample. The result is 0 if fewer than two rows were left out, or if none has an
    influence.

    >>> acceleration(np.array([1.0, 1.0, 1.0, 4.0]), 4) < 0 < acceleration(np.array([1.0, 4.0, 4.0, 4.0]), 4)
    True
    """
    values = jackknife[np.isfinite(jackknife)]
    if len(values) < 2:
        return 0.0
    influence = (rows - 1) * (values.mean() - values)
    spread = float(np.mean(influence**2)) / rows
    # If no row has an influence, what is left is rounding and not skewness.
    if spread <= (1e-12 * max(1.0, float(np.abs(values).max()))) ** 2 * rows:
        return 0.0
    skewness: float = float(np.mean(influence**3)) / rows**2 / spread**1.5
    return skewness / 6


def _tails(confidence: float) -> Floats:
    check_confidence(confidence)
    return np.array([(1 - confidence) / 2, (1 + confidence) / 2])


def _extended_to(estimate: float, resamples: Floats, probabilities: Floats) -> Interval:
    low, high = np.quantile(resamples, probabilities)
    return Interval(min(float(low), estimate), max(float(high), estimate))
