"""From bootstrap resamples of a number to its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from airflow_provider_mlops.stats.intervals.interval import Interval

Floats = NDArray[np.float64]


def bca_interval(estimate: float, resamples: Floats, jackknife: Floats, rows: int, confidence: float) -> Interval:
    """The bias-corrected and accelerated interval, widened where it does not hold the estimate.

    It lies between two percentiles of the resamples that are moved by their bias and skewness. Efron (1987), *Better
    bootstrap confidence intervals*, JASA 82(397); Efron and Tibshirani (1993), *An Introduction to the Bootstrap*,
    section 14.3. Where that is not defined, because all resamples lie on one side, it is the percentile interval.

    Parameters
    ----------
    estimate
        The number on all rows.
    resamples
        On each resample, of shape `(resamples,)`. Those that are not finite are left out.
    jackknife
        On all rows but one, of shape `(rows left out,)`; the skewness is taken as none if it is empty.
    rows
        How many rows there are.
    confidence
        Nominal level, between 0 and 1.

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
    return _around(estimate, finite, corrected)


def percentile_interval(estimate: float, resamples: Floats, confidence: float) -> Interval:
    """The interval between the percentiles of the finite resamples, widened where it does not hold the estimate.

    Parameters as for `bca_interval`. Without a finite resample it has no width.

    >>> percentile_interval(2.0, np.array([1.0, 2.0, 3.0, np.nan]), 0.5)
    Interval(low=1.5, high=2.5)
    """
    finite = resamples[np.isfinite(resamples)]
    return _around(estimate, finite, _tails(confidence)) if finite.size else Interval(estimate, estimate)


def bca_probabilities(tails: Floats, estimate: float, resamples: Floats, acceleration: float) -> Floats | None:
    r"""The percentiles of the resamples between which the BCa interval lies.

    .. math:: \Phi\left(z_0 + \frac{z_0 + z_\alpha}{1 - a(z_0 + z_\alpha)}\right)

    with :math:`z_0` the normal quantile of the share of resamples below the estimate, ties counting half.

    Parameters
    ----------
    tails
        Nominal probabilities, of shape `(ends,)`.
    estimate
        The metric on all rows.
    resamples
        The metric on each resample.
    acceleration
        A sixth of the skewness of the metric's influence function over the square root of the rows.

    Returns
    -------
    Of shape `(ends,)`; None where all resamples lie on one side of the estimate.

    >>> bca_probabilities(np.array([0.025, 0.975]), 0.0, np.array([-1.0, 1.0]), 0.0)
    array([0.025, 0.975])
    """
    share = float(np.mean(resamples < estimate) + np.mean(resamples == estimate) / 2)
    if not 0 < share < 1:
        return None
    bias = stats.norm.ppf(share)
    shifted = bias + stats.norm.ppf(tails)
    # Beyond this pole the correction turns round and is meaningless.
    if np.any(1 - acceleration * shifted <= 0):
        return None
    corrected: Floats = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return corrected


def acceleration(jackknife: Floats, rows: int) -> float:
    r"""The acceleration of the BCa interval from leaving out single rows, all of them or some at random.

    With the influence :math:`l_i` of the rows it is :math:`\sum l_i^3 / 6 (\sum l_i^2)^{3/2}`; zero where fewer than
    two rows were left out, or none of them has an influence.

    >>> acceleration(np.array([1.0, 1.0, 1.0, 4.0]), 4) < 0 < acceleration(np.array([1.0, 4.0, 4.0, 4.0]), 4)
    True
    """
    values = jackknife[np.isfinite(jackknife)]
    if len(values) < 2:
        return 0.0
    influence = (rows - 1) * (values.mean() - values)
    spread = float(np.mean(influence**2)) / rows
    # What rounding leaves where no row has an influence is no skewness.
    if spread <= (1e-12 * max(1.0, float(np.abs(values).max()))) ** 2 * rows:
        return 0.0
    skewness: float = float(np.mean(influence**3)) / rows**2 / spread**1.5
    return skewness / 6


def _tails(confidence: float) -> Floats:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return np.array([(1 - confidence) / 2, (1 + confidence) / 2])


def _around(estimate: float, resamples: Floats, probabilities: Floats) -> Interval:
    low, high = np.quantile(resamples, probabilities)
    return Interval(min(float(low), estimate), max(float(high), estimate))
