"""Verdict on a candidate from the same rows as the champion: better, no worse than a margin, worse, or inconclusive."""

from __future__ import annotations

from typing import Literal

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_not_negative
from airflow_provider_mlops.stats.intervals.bca import bca_interval
from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics
from airflow_provider_mlops.stats.intervals.interval import Interval

Comparison = Literal["better", "non_inferior", "worse", "inconclusive"]


def compare_with_margin(low: float, high: float, margin: float) -> Comparison:
    """Decide from the confidence interval of a gain. Positive gains are good.

    - `better`: the whole interval is above zero.
    - `non_inferior`: the whole interval is above minus the margin.
    - `worse`: the whole interval is below minus the margin.
    - `inconclusive`: none of these; more rows are needed.

    Piaggio et al. (2012), *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24).

    Parameters
    ----------
    low, high
        Ends of the interval of the gain, candidate minus champion if more is better.
    margin
        Loss that is still acceptable, not negative.

    Examples
    --------
    >>> [compare_with_margin(low, high, 0.02) for low, high in [(0.01, 0.03), (-0.01, 0.02), (-0.05, 0.01)]]
    ['better', 'non_inferior', 'inconclusive']
    >>> compare_with_margin(-0.05, -0.03, 0.02)
    'worse'
    """
    check_not_negative(margin=margin)
    if not low <= high:
        raise ValueError(f"low must not be greater than high, got low={low} and high={high}")
    if low > 0:
        return "better"
    if low >= -margin:
        return "non_inferior"
    return "worse" if high < -margin else "inconclusive"


def paired_gain(
    candidate: ResampledMetrics,
    champion: ResampledMetrics,
    metric: str,
    greater_is_better: bool | None,
    confidence: float = 0.95,
) -> tuple[float, Interval]:
    """Compute how much better the candidate is than the champion on the same rows, and the interval of that gain.

    What rows have in common, such as being hard for every model, cancels out. The interval is therefore narrower than
    those of the two models. Efron and Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 14.

    Parameters
    ----------
    candidate, champion
        Results of one call of `resample`, so that both have the same resamples.
    metric
        Name of the metric.
    greater_is_better
        False for errors and losses. None if the value nearer to zero is better, as for a bias.
    confidence
        Nominal confidence level. At 95 %, the interval of a candidate that is worse by exactly the margin is above
        minus the margin once in 40 times.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.intervals.bootstrap import resample
    >>> right, better = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1.0, 0.0], [97, 3])
    >>> def accuracy(values):
    ...     return lambda counts: {"accuracy": counts @ values / counts.sum(axis=1)}
    >>> candidate, champion = resample(lambda chosen: [accuracy(better), accuracy(right)], 100)
    >>> gain, (low, high) = paired_gain(candidate, champion, "accuracy", True)
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
