"""Bootstrap intervals for any metric of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from airflow_provider_mlops.stats.intervals import Interval
from airflow_provider_mlops.stats.resampling import (
    CELLS_AT_ONCE,
    Indices,
    counts_of_rows,
    draw_indices,
    strata_rows,
)

Floats = NDArray[np.float64]
IndexMetric = Callable[[Indices], float]
"""Takes row numbers of shape `(rows,)`, some of them repeated, and returns the metric of those rows."""
WeightMetric = Callable[[Floats], Floats]
"""Takes weights of shape `(resamples, rows)` and returns the metric of each resample, of shape `(resamples,)`."""
Method = Literal["bca", "percentile"]


@dataclass(frozen=True, eq=False)
class BootstrapInterval:
    """A metric, its interval, and the resamples behind it.

    Parameters
    ----------
    estimate
        The metric on all rows.
    low, high
        The interval.
    confidence
        Its nominal level.
    standard_error
        Deviation of the resamples.
    method
        `bca` or `percentile`. BCa falls back to percentile where it is not defined (all resamples on one side).
    resamples
        The metric on each resample where it was defined there, of shape `(defined,)`.
    undefined
        Resamples on which the metric was not finite, such as an AUC of rows of a single class. They are left out.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    standard_error: float
    method: Method
    resamples: Floats
    undefined: int

    @property
    def interval(self) -> Interval:
        """Both ends."""
        return Interval(self.low, self.high)


def bootstrap(
    metric: IndexMetric,
    rows: int,
    *,
    strata: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    method: Method = "bca",
    seed: int = 0,
) -> BootstrapInterval:
    """Bootstrap interval of a metric that takes row numbers.

    See `bootstrap_weighted` for metrics that accept weights: those are many times faster.

    Parameters
    ----------
    metric
        Called with row numbers of shape `(rows,)`.
    rows
        Number of rows.
    strata
        A label for each row, of shape `(rows,)`: every resample keeps the number of rows of each label. Use the class
        where it was fixed by the sampling, or where a rare class would be missing from resamples.
    confidence
        Nominal level of the interval.
    resamples
        Number of resamples. 1000 for an interval, more for tails beyond 99 %.
    method
        `percentile`, or `bca`: bias-corrected and accelerated. Efron (1987), *Better bootstrap confidence intervals*,
        JASA 82(397), section 2 for the formula, with strata as in Davison and Hinkley (1997), *Bootstrap Methods and
        Their Application*, section 5.3.2. The acceleration is the skewness of the jackknife over at most 500 rows.
    seed
        Same seed, same interval.

    Raises
    ------
    ValueError
        If the metric is not finite on all rows, or on more than half of the resamples.

    >>> values = np.arange(100.0)
    >>> found = bootstrap(lambda rows: values[rows].mean(), 100)
    >>> found.estimate, found.low < 49.5 < found.high
    (49.5, True)
    """

    def of_batch(indices: Indices) -> Floats:
        return np.array([metric(row_numbers) for row_numbers in indices], dtype=np.float64)

    return _bootstrap(of_batch, rows, strata, confidence, resamples, method, seed)


def bootstrap_weighted(
    metric: WeightMetric,
    rows: int,
    *,
    strata: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    method: Method = "bca",
    seed: int = 0,
) -> BootstrapInterval:
    """Bootstrap interval of a metric that takes weights, many resamples at once.

    The resamples are those of `bootstrap` with the same seed, and so is the interval, but for rounding.

    Parameters
    ----------
    metric
        Called with weights of shape `(some resamples, rows)`: how often each row occurs.
    rows, strata, confidence, resamples, method, seed
        As for `bootstrap`.

    Raises
    ------
    ValueError
        If the metric is not finite on all rows, or on more than half of the resamples.

    >>> values = np.arange(100.0)
    >>> found = bootstrap_weighted(lambda weights: weights @ values / weights.sum(axis=1), 100)
    >>> found.estimate, found.low < 49.5 < found.high
    (49.5, True)
    """

    def of_batch(indices: Indices) -> Floats:
        return np.asarray(metric(counts_of_rows(indices, rows)), dtype=np.float64)

    return _bootstrap(of_batch, rows, strata, confidence, resamples, method, seed)


def _bootstrap(
    of_batch: Callable[[Indices], Floats],
    rows: int,
    strata: ArrayLike | None,
    confidence: float,
    resamples: int,
    method: Method,
    seed: int,
) -> BootstrapInterval:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, not {resamples}")
    groups = strata_rows(rows, strata)
    generator = np.random.default_rng(seed)
    estimate = float(of_batch(np.arange(rows, dtype=np.int64)[None, :])[0])
    if not math.isfinite(estimate):
        raise ValueError(f"the metric of all rows is {estimate}")
    drawn = np.concatenate([of_batch(batch) for batch in draw_indices(groups, resamples, generator)])
    defined = drawn[np.isfinite(drawn)]
    if 2 * defined.size < resamples:
        raise ValueError(f"the metric is not finite on {resamples - defined.size} of {resamples} resamples")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    used: Method = "percentile"
    if method == "bca":
        corrected = bca_probabilities(tails, estimate, defined, _acceleration(of_batch, groups, generator))
        if corrected is not None:
            tails, used = corrected, "bca"
    low, high = np.quantile(defined, tails)
    return BootstrapInterval(
        estimate=estimate,
        low=float(low),
        high=float(high),
        confidence=confidence,
        standard_error=float(defined.std(ddof=1)),
        method=used,
        resamples=defined,
        undefined=resamples - defined.size,
    )


def bca_probabilities(tails: Floats, estimate: float, resamples: Floats, acceleration: float) -> Floats | None:
    r"""The percentiles of the resamples between which the BCa interval lies.

    .. math:: \Phi\left(z_0 + \frac{z_0 + z_\alpha}{1 - a(z_0 + z_\alpha)}\right)

    with :math:`z_0` the normal quantile of the share of resamples below the estimate, ties counting half. Efron
    (1987), equation 2.3.

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


def _acceleration(
    of_batch: Callable[[Indices], Floats], groups: list[Indices], generator: np.random.Generator, at_most: int = 500
) -> float:
    """The acceleration from leaving out single rows, at most so many of them in all, chosen at random.

    With influence values l of the n rows of each stratum it is sum(n^-3 sum l^3) / sum(n^-2 sum l^2)^(3/2) / 6.
    Sums over a stratum are estimated from the rows chosen of it.
    """
    rows = sum(group.size for group in groups)
    everything = np.concatenate(groups)
    at_once = max(1, CELLS_AT_ONCE // rows)
    numerator = denominator = 0.0
    start = 0
    for group in groups:
        number = group.size if rows <= at_most else min(group.size, max(2, round(at_most * group.size / rows)))
        chosen = start + generator.choice(group.size, size=number, replace=False)
        start += group.size
        if group.size < 2:
            continue
        without = []
        for first in range(0, number, at_once):
            batch = chosen[first : first + at_once]
            kept = np.ones((batch.size, rows), dtype=bool)
            kept[np.arange(batch.size), batch] = False
            left = np.broadcast_to(everything, kept.shape)[kept].reshape(batch.size, rows - 1)
            without.append(of_batch(left))
        jackknife = np.concatenate(without)
        jackknife = jackknife[np.isfinite(jackknife)]
        if jackknife.size < 2:
            continue
        influence = (group.size - 1) * (jackknife.mean() - jackknife)
        numerator += float(np.mean(influence**3)) / group.size**2
        denominator += float(np.mean(influence**2)) / group.size
    return numerator / denominator**1.5 / 6 if denominator > 0 else 0.0
