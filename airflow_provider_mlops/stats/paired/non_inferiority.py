"""Whether a candidate is better, no worse by more than a margin, or worse, judged on the same rows."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.intervals.bca import bca_interval
from airflow_provider_mlops.stats.intervals.bootstrap import Resampled
from airflow_provider_mlops.stats.intervals.interval import Interval

Floats = NDArray[np.float64]
Comparison = Literal["better", "non_inferior", "worse", "inconclusive"]


def compare_with_margin(low: float, high: float, margin: float) -> Comparison:
    """What the confidence interval of a gain says. Positive gains are good.

    `better`: all of the interval lies above zero. `non_inferior`: all of it lies above minus the margin. `worse`: all
    of it lies below minus the margin. `inconclusive` otherwise: more rows would tell. Piaggio et al. (2012),
    *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24).

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


def paired_gain(
    candidate: Resampled, champion: Resampled, metric: str, greater_is_better: bool | None, confidence: float = 0.95
) -> tuple[float, Interval]:
    """By how much the candidate is better than the champion on the same rows, and the interval of that.

    What rows have in common, such as being hard for every model, cancels out, which is why the interval is narrower
    than the two models' own. Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 14.

    Parameters
    ----------
    candidate, champion
        Of one call of `resample`, so that both have the same resamples.
    metric
        Its name.
    greater_is_better
        False for errors and losses. None where neither way is better and the value nearer to zero is, as for a bias.
    confidence
        Nominal level. With 95 %, the interval of a candidate that is worse by exactly the margin lies above minus the
        margin once in 40 times.

    >>> from airflow_provider_mlops.stats.intervals.bootstrap import resample
    >>> right, better = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1.0, 0.0], [97, 3])
    >>> def share(values):
    ...     return lambda counts: {"share": counts @ values / counts.sum(axis=1)}
    >>> two = resample(lambda chosen: [share(better), share(right)], 100)
    >>> gain, (low, high) = paired_gain(*two, "share", True)
    >>> round(gain, 2), compare_with_margin(low, high, 0.0)
    (0.07, 'better')
    """

    def gains(first: Floats, second: Floats) -> Floats:
        if greater_is_better is None:
            return np.abs(second) - np.abs(first)
        return first - second if greater_is_better else second - first

    estimate = float(gains(np.array(candidate.estimates[metric]), np.array(champion.estimates[metric])))
    drawn = gains(candidate.resamples[metric], champion.resamples[metric])
    without = gains(candidate.jackknife[metric], champion.jackknife[metric])
    return estimate, bca_interval(estimate, drawn, without, candidate.rows, confidence)
