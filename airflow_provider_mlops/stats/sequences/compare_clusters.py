"""Gates on clustered observations: rewards of one request, or requests of one user, depend on each other."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.clusters import (
    MIN_CLUSTERS,
    ClusteredEstimate,
    ClusterSums,
    clustered_difference,
    clustered_mean,
    information_interval,
    information_radius,
)
from airflow_provider_mlops.stats.sequences.comparison import (
    Goal,
    SequentialComparison,
    judge_difference,
    judge_with_limit,
)
from airflow_provider_mlops.stats.sequences.latency import validate_histogram
from airflow_provider_mlops.stats.sequences.mean import difference_radius

Assignment = Literal["shares", "rewards"]
MIN_WEIGHTED_SPREAD = 20.0
"""Like `MIN_SPREAD`, if observations have weights: then a few large values with large weights decide even sooner."""


def compare_clusters(
    candidate: ClusterSums,
    champion: ClusterSums,
    counts: tuple[int, int],
    *,
    what: str,
    greater_is_better: bool,
    expected_variance: float,
    is_rate: bool = False,
    is_weighted: bool = False,
    assigned_by: Assignment = "shares",
    margin: float = 0.0,
    margin_for_now: float | None = None,
    goal: Goal = "non_inferior",
    min_count: int = 0,
    confidence: float = 0.95,
) -> SequentialComparison:
    """Compare two means or rates of clustered observations.

    The verdict is inconclusive until both arms have enough clusters and enough spread.

    Parameters
    ----------
    candidate, champion
        Sums of both arms with the same strata and clusters.
    counts
        Number of observations of the candidate and of the champion, for the sentence.
    assigned_by
        `shares`: units were assigned with known shares, which are constant within a stratum (`clustered_difference`).
        `rewards`: the shares follow from the rewards, as in a bandit; all strata then count as one, and each arm has a
        sequence of its own as in `mean_difference_sequence`.
    expected_variance
        As for `information_radius`.
    is_rate
        As for `clustered_difference`.
    is_weighted
        Whether the weights are inverse propensities. The verdict then needs more spread.
    what, greater_is_better, margin, margin_for_now, goal, min_count, confidence
        As for `judge_difference`.

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> arms = [ClusterSums(np.full((1, 200), 5.0), generator.normal(mean, 3, (1, 200))) for mean in (7, 5)]
    >>> compare_clusters(*arms, (1000, 1000), what="reward", greater_is_better=True, expected_variance=0.01).verdict
    'better'
    """
    if assigned_by == "shares":
        estimate = clustered_difference(candidate, champion, is_rate=is_rate)
        interval = information_interval(estimate, confidence=confidence, expected_variance=expected_variance)
    else:
        estimate, interval = _of_bandit(candidate, champion, is_rate, confidence, expected_variance)
    if not estimate.is_known or (is_weighted and estimate.spread < MIN_WEIGHTED_SPREAD):
        return _unknown(estimate, counts, what, greater_is_better)
    return judge_difference(
        interval,
        float(estimate.value),
        counts,
        what=what,
        greater_is_better=greater_is_better,
        margin=margin,
        goal=goal,
        min_count=min_count,
        confidence=confidence,
        format_value=(lambda value: f"{100 * value:.3g} points") if is_rate else "{:.4g}".format,
        margin_for_now=margin_for_now,
    )


def _of_bandit(
    candidate: ClusterSums, champion: ClusterSums, is_rate: bool, confidence: float, expected_variance: float
) -> tuple[ClusteredEstimate, Interval]:
    arms = [clustered_mean(arm, is_rate=is_rate) for arm in (champion, candidate)]
    counts = np.array([float(arm.weight.sum()) for arm in (champion, candidate)])
    value = arms[1].value - arms[0].value
    variances = np.array([float(arm.variance) for arm in arms]) * counts
    # As in `clustered_difference`, an arm whose values happen to vary little is not trusted.
    variances = np.maximum(variances, (variances * counts).sum() / max(counts.sum(), 1.0))
    known = counts.min() > 0
    estimate = ClusteredEstimate(
        value,
        np.asarray((variances / np.maximum(counts, 1.0)).sum()),
        np.minimum(arms[0].clusters, arms[1].clusters),
        np.minimum(arms[0].spread, arms[1].spread),
    )
    if not known or not estimate.is_known:
        return estimate, Interval(-math.inf, math.inf)
    expected_n = 2 * float(variances.mean()) / expected_variance
    half = float(difference_radius(counts, variances, confidence=confidence, expected_n=expected_n))
    return estimate, Interval(float(value) - half, float(value) + half)


def compare_clusters_with_limit(
    sums: ClusterSums,
    count: int,
    limit: float,
    *,
    what: str,
    greater_is_better: bool,
    expected_variance: float,
    confidence: float = 0.95,
) -> SequentialComparison:
    """Compare one rate of clustered observations with a fixed limit.

    Parameters
    ----------
    sums, count
        Sums of the arm, and its number of observations for the sentence.
    limit
        Limit that the rate must be above (`greater_is_better`) or below.
    what, greater_is_better, expected_variance, confidence
        As for `compare_clusters`.

    Examples
    --------
    >>> sums = ClusterSums(np.full((1, 100), 10.0), np.tile([0.0, 1.0], (1, 50)))
    >>> compare_clusters_with_limit(
    ...     sums, 1000, 0.2, what="error rate", greater_is_better=False, expected_variance=0.001
    ... ).verdict
    'better'
    """
    estimate = clustered_mean(sums, is_rate=True)
    if not estimate.is_known:
        return _unknown(estimate, (count, 0), what, greater_is_better)
    interval = information_interval(estimate, confidence=confidence, expected_variance=expected_variance)
    return judge_with_limit(
        Interval(max(0.0, interval.low), min(1.0, interval.high)),
        float(estimate.value),
        (count,),
        limit,
        what=what,
        greater_is_better=greater_is_better,
        min_count=0,
        confidence=confidence,
    )


def clustered_quantile(
    edges: np.ndarray, histograms: np.ndarray, quantile: float, *, confidence: float = 0.95, expected_variance: float
) -> Interval:
    """Return the two edges that enclose a quantile at all times at once, for clustered observations.

    As in `quantile_sequence`, only the rate at the true quantile must be bounded, here by `information_radius`.

    Parameters
    ----------
    edges
        As for `count_slower_than`.
    histograms
        Observations in each cell, shape `(clusters, cells)`.
    quantile, confidence, expected_variance
        As for `quantile_sequence` and `information_radius`.

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> histograms = generator.multinomial(20, [0.5, 0.4, 0.08, 0.02], size=100)
    >>> clustered_quantile(np.array([10, 20, 50]), histograms, 0.95, expected_variance=1e-4)
    Interval(low=20.0, high=50.0)
    """
    ends, _ = validate_histogram(edges, histograms.sum(axis=0))
    within = np.cumsum(histograms, axis=1)[:, :-1].T[:, None, :].astype(np.float64)
    counts = np.broadcast_to(histograms.sum(axis=1).astype(np.float64), within.shape)
    estimate = clustered_mean(ClusterSums(counts, within), is_rate=True)
    half = information_radius(estimate, confidence=confidence, expected_variance=expected_variance)
    value = np.nan_to_num(estimate.value)
    below, above = ends[value + half < quantile], ends[value - half > quantile]
    return Interval(float(below[-1]) if below.size else 0.0, float(above[0]) if above.size else math.inf)


def _unknown(
    estimate: ClusteredEstimate, counts: tuple[int, int], what: str, greater_is_better: bool
) -> SequentialComparison:
    clusters = int(estimate.clusters)
    if clusters < MIN_CLUSTERS:
        reason = (
            f"too few users or requests ({clusters:,} independent groups of them in the version with fewer, required "
            f"at least {MIN_CLUSTERS})"
        )
    else:
        reason = "the values of too few users or requests differ from the rest, so their spread is not known yet"
    return SequentialComparison(
        "inconclusive",
        float(estimate.value),
        Interval(-math.inf, math.inf),
        math.nan,
        greater_is_better,
        *counts,
        f"{what[0].upper()}{what[1:]}: {reason}.",
    )
