"""The verdict on a candidate's latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.rollouts.arm_statistics import (
    LATENCY_CLUSTERS,
    LATENCY_EDGES,
    ArmStatistics,
    edge_at_least,
)
from airflow_provider_mlops.serving.rollouts.plan.gates import LatencyGate
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.intervals.interval import Interval
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison, Verdict


@dataclass(frozen=True)
class LatencyComparison:
    """The comparison of two quantiles.

    Parameters
    ----------
    verdict
        Whether the candidate's quantile is at most the allowed multiple of the champion's.
    sentence
        The finding in words.
    low, high
        Bounds of the ratio of the candidate's quantile to the champion's.
    """

    verdict: Verdict
    sentence: str
    low: float
    high: float


def compare_latency_with_limit(
    plan: RolloutPlan, gate: LatencyGate, max_latency_ms: float, candidate: ArmStatistics, confidence: float
) -> SequentialComparison:
    """Compare the share of a candidate's requests that are slower than a limit with the share that may be."""
    from airflow_provider_mlops.stats.sequences.clusters import ClusterSums
    from airflow_provider_mlops.stats.sequences.compare_clusters import compare_clusters_with_limit
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit
    from airflow_provider_mlops.stats.sequences.latency import count_slower_than

    edge, limit = edge_at_least(max_latency_ms), 1 - gate.quantile
    what = f"share of requests slower than {edge:.4g} ms"
    if plan.sticky is not None:
        slow = {
            cluster: (
                float(sum(cells.values())),
                float(sum(count for cell, count in cells.items() if cell > LATENCY_EDGES.index(edge))),
            )
            for cluster, cells in candidate.latency_clusters.items()
        }
        return compare_clusters_with_limit(
            ClusterSums.of([slow], LATENCY_CLUSTERS),
            sum(candidate.latency.values()),
            limit,
            what=what,
            greater_is_better=False,
            expected_variance=limit * (1 - limit) / plan.expected_requests,
            confidence=confidence,
        )
    slower, requests = count_slower_than(LATENCY_EDGES, candidate.latency_counts(), edge)
    return compare_rate_with_limit(
        slower,
        requests,
        limit,
        what=what,
        greater_is_better=False,
        confidence=confidence,
        expected_n=plan.expected_requests,
    )


def compare_latencies(
    plan: RolloutPlan, gate: LatencyGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> LatencyComparison:
    """Compare the arms' quantiles, each with a confidence interval at half the error rate."""
    own, reference = (_quantile(plan, gate, arm, (1 + confidence) / 2) for arm in (candidate, champion))
    verdict: Verdict = "inconclusive"
    if own.high <= gate.ratio * reference.low:
        verdict = "better"
    elif own.low > gate.ratio * reference.high:
        verdict = "worse"
    relation = {"better": "is at most", "worse": "exceeds", "inconclusive": "may or may not exceed"}[verdict]
    sentence = (
        f"The candidate's {100 * gate.quantile:g}th latency percentile {relation} {gate.ratio:g} times the champion's: "
        f"{_milliseconds(own)} for the candidate ({pluralize(sum(candidate.latency.values()), 'answer')}), "
        f"{_milliseconds(reference)} for the champion ({pluralize(sum(champion.latency.values()), 'answer')})."
    )
    low = own.low / reference.high if own.low > 0 else 0.0
    high = own.high / reference.low if reference.low > 0 else math.inf
    return LatencyComparison(verdict, sentence, low, high)


def _quantile(plan: RolloutPlan, gate: LatencyGate, arm: ArmStatistics, confidence: float) -> Interval:
    import numpy as np

    from airflow_provider_mlops.stats.sequences.compare_clusters import clustered_quantile
    from airflow_provider_mlops.stats.sequences.latency import quantile_sequence

    if plan.sticky is None:
        return quantile_sequence(
            LATENCY_EDGES,
            arm.latency_counts(),
            gate.quantile,
            confidence=confidence,
            expected_n=plan.expected_requests,
        )
    histograms = np.zeros((LATENCY_CLUSTERS, len(LATENCY_EDGES) + 1))
    for cluster, cells in arm.latency_clusters.items():
        histograms[cluster, list(cells)] = list(cells.values())
    return clustered_quantile(
        np.array(LATENCY_EDGES),
        histograms,
        gate.quantile,
        confidence=confidence,
        expected_variance=gate.quantile * (1 - gate.quantile) / plan.expected_requests,
    )


def _milliseconds(interval: Interval) -> str:
    if interval.low <= 0 and math.isinf(interval.high):
        return "unknown"
    if math.isinf(interval.high):
        return f"at least {interval.low:.4g} ms"
    return f"{interval.low:.4g} to {interval.high:.4g} ms"
