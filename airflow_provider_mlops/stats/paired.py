"""Whether a candidate is better, no worse by more than a margin, or worse, judged on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.bootstrap import (
    BootstrapInterval,
    IndexMetric,
    Method,
    WeightMetric,
    bootstrap,
    bootstrap_weighted,
)
from airflow_provider_mlops.stats.intervals import Interval

Comparison = Literal["better", "non_inferior", "worse", "inconclusive"]


def compare_with_margin(low: float, high: float, margin: float) -> Comparison:
    """What the confidence interval of a gain says. Positive gains are good.

    `better`: all of the interval lies above zero. `non_inferior`: all of it lies above minus the margin. `worse`: all
    of it lies below minus the margin. `inconclusive` otherwise: more rows would tell. Piaggio et al. (2012),
    *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24), figure 1.

    Parameters
    ----------
    low, high
        Ends of the interval of candidate minus champion, in the direction in which more is better.
    margin
        Loss that is still acceptable, not negative.

    >>> [compare_with_margin(low, high, 0.02) for low, high in [(0.01, 0.03), (-0.01, 0.02), (-0.05, 0.01)]]
    ['better', 'non_inferior', 'inconclusive']
    >>> compare_with_margin(-0.05, -0.03, 0.02)
    'worse'
    """
    if not margin >= 0:
        raise ValueError(f"margin must not be negative, not {margin}")
    if not low <= high:
        raise ValueError(f"the interval from {low} to {high} is upside down")
    if low > 0:
        return "better"
    if low >= -margin:
        return "non_inferior"
    return "worse" if high < -margin else "inconclusive"


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """The gain of a candidate over a champion on the same rows.

    Parameters
    ----------
    candidate, champion
        The metric of each on all rows, in its own direction.
    gain
        By how much the candidate is better; negative where it is worse, whichever way the metric goes.
    low, high
        Interval of the gain.
    margin
        Loss that is still acceptable.
    comparison
        `better`, `non_inferior`, `worse` or `inconclusive`, see `compare_with_margin`.
    bootstrap
        The resamples of the gain.
    """

    candidate: float
    champion: float
    gain: float
    low: float
    high: float
    margin: float
    comparison: Comparison
    bootstrap: BootstrapInterval

    @property
    def interval(self) -> Interval:
        """Both ends of the gain's interval."""
        return Interval(self.low, self.high)


def paired_bootstrap(
    candidate: IndexMetric,
    champion: IndexMetric,
    rows: int,
    *,
    margin: float = 0.0,
    greater_is_better: bool = True,
    strata: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    method: Method = "bca",
    seed: int = 0,
) -> PairedDifference:
    """Bootstrap the difference of a metric between two models, both on the same resampled rows.

    What rows have in common, such as being hard for every model, cancels out, which is why the interval is narrower
    than the two models' own. Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapters 8 and 14.

    Parameters
    ----------
    candidate, champion
        The metric of each model, called with row numbers of shape `(rows,)`.
    rows
        Number of rows.
    margin
        Loss that is still acceptable, in units of the metric.
    greater_is_better
        False for errors and losses.
    strata, confidence, resamples, method, seed
        As for `bootstrap`. With 95 % confidence, a candidate that is worse by exactly the margin is called
        non-inferior once in 40 times.

    Raises
    ------
    ValueError
        If the margin is negative, or the difference is not finite on all rows or on most resamples.

    >>> right = np.array([1.0] * 90 + [0.0] * 10)
    >>> better = np.array([1.0] * 97 + [0.0] * 3)
    >>> found = paired_bootstrap(lambda rows: better[rows].mean(), lambda rows: right[rows].mean(), 100)
    >>> found.comparison, round(found.gain, 2)
    ('better', 0.07)
    """
    sign = 1.0 if greater_is_better else -1.0
    found = bootstrap(
        lambda row_numbers: sign * (candidate(row_numbers) - champion(row_numbers)),
        rows,
        strata=strata,
        confidence=confidence,
        resamples=resamples,
        method=method,
        seed=seed,
    )
    return _difference(_on_all_rows(candidate, rows), _on_all_rows(champion, rows), found, margin)


def paired_bootstrap_weighted(
    candidate: WeightMetric,
    champion: WeightMetric,
    rows: int,
    *,
    margin: float = 0.0,
    greater_is_better: bool = True,
    strata: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    method: Method = "bca",
    seed: int = 0,
) -> PairedDifference:
    """`paired_bootstrap` for metrics that accept weights, many resamples at once.

    Parameters
    ----------
    candidate, champion
        The metric of each model, called with weights of shape `(some resamples, rows)`.
    rows, margin, greater_is_better, strata, confidence, resamples, method, seed
        As for `paired_bootstrap`, whose result this is but for rounding.

    >>> losses, others = np.full(50, 0.2), np.full(50, 0.3)
    >>> mean = lambda values: lambda weights: weights @ values / weights.sum(axis=1)
    >>> paired_bootstrap_weighted(mean(losses), mean(others), 50, greater_is_better=False).comparison
    'better'
    """
    sign = 1.0 if greater_is_better else -1.0
    found = bootstrap_weighted(
        lambda weights: sign * (candidate(weights) - champion(weights)),
        rows,
        strata=strata,
        confidence=confidence,
        resamples=resamples,
        method=method,
        seed=seed,
    )
    once = np.ones((1, rows))
    return _difference(float(candidate(once)[0]), float(champion(once)[0]), found, margin)


def _on_all_rows(metric: Callable[..., float], rows: int) -> float:
    return float(metric(np.arange(rows)))


def _difference(candidate: float, champion: float, found: BootstrapInterval, margin: float) -> PairedDifference:
    return PairedDifference(
        candidate=candidate,
        champion=champion,
        gain=found.estimate,
        low=found.low,
        high=found.high,
        margin=margin,
        comparison=compare_with_margin(found.low, found.high, margin),
        bootstrap=found,
    )
