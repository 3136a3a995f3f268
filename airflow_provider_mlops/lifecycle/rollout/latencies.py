"""The verdict on a candidate's latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.serving.policy.policy import CANDIDATE, CHAMPION
from airflow_provider_mlops.serving.rollouts.arm_statistics import (
    LATENCY_CLUSTERS,
    LATENCY_EDGES,
    ArmStatistics,
    edge_at_least,
)
from airflow_provider_mlops.serving.rollouts.plan.gates import LatencyGate
from airflow_provider_mlops.serving.rollouts.plan.strategies import CanaryStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, step_weights

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
    plan: RolloutPlan, gate: LatencyGate, evidence: Evidence, arm: str, confidence: float
) -> LatencyComparison:
    """Compare the arms' quantiles within each step, each with a confidence interval at its part of the error rate.

    Latencies may change with time, and so do the shares of a canary: over all steps together, most of the champion's
    requests are from other times than the candidate's. Their ratio is taken to be constant, so each step bounds it.
    """
    steps = _compared_steps(plan)
    numbers = [number for number in evidence.step_numbers if number in steps]
    if not steps or not evidence.steps:
        pairs = {evidence.number: (evidence.of_arm(arm), evidence.of_arm(CHAMPION))}
    else:
        empty = ArmStatistics()
        pairs = {
            number: (evidence.steps.get((number, arm), empty), evidence.steps.get((number, CHAMPION), empty))
            for number in numbers or [evidence.number]
        }
    level = 1 - (1 - confidence) / (2 * max(len(steps), 1))
    found = [_Ratio.of(plan, gate, number, pair, level) for number, pair in pairs.items()]
    lowest, highest = min(found, key=lambda each: each.high), max(found, key=lambda each: each.low)
    verdict: Verdict = "inconclusive"
    shown = found[-1]
    if highest.low > gate.ratio:
        verdict, shown = "worse", highest
    elif lowest.high <= gate.ratio:
        verdict, shown = "better", lowest
    sentence = shown.sentence(gate, verdict, is_step=len(steps) > 1)
    if verdict == "better" and (problem := _slower_without_champion(plan, gate, evidence, arm, confidence)):
        verdict, sentence = "inconclusive", problem
    return LatencyComparison(verdict, sentence, highest.low, lowest.high)


@dataclass(frozen=True)
class _Ratio:
    """The quantiles of both arms at a step, and the bounds of their ratio."""

    number: int
    own: Interval
    reference: Interval
    answers: tuple[int, int]

    @classmethod
    def of(
        cls,
        plan: RolloutPlan,
        gate: LatencyGate,
        number: int,
        pair: tuple[ArmStatistics, ArmStatistics],
        confidence: float,
    ) -> Self:
        own, reference = (_quantile(plan, gate, arm, confidence) for arm in pair)
        return cls(number, own, reference, (sum(pair[0].latency.values()), sum(pair[1].latency.values())))

    @property
    def low(self) -> float:
        return self.own.low / self.reference.high if self.own.low > 0 else 0.0

    @property
    def high(self) -> float:
        return self.own.high / self.reference.low if self.reference.low > 0 else math.inf

    def sentence(self, gate: LatencyGate, verdict: Verdict, *, is_step: bool) -> str:
        relation = {"better": "is at most", "worse": "exceeds", "inconclusive": "may or may not exceed"}[verdict]
        return (
            f"The candidate's {100 * gate.quantile:g}th latency percentile {relation} {gate.ratio:g} times the "
            f"champion's: {_milliseconds(self.own)} for the candidate ({pluralize(self.answers[0], 'answer')}), "
            f"{_milliseconds(self.reference)} for the champion ({pluralize(self.answers[1], 'answer')})"
            f"{f', at step {self.number + 1}' if is_step else ''}."
        )


def _compared_steps(plan: RolloutPlan) -> list[int]:
    """Return the numbers of a canary's steps in which both versions answer; none for other strategies."""
    if not isinstance(plan.strategy, CanaryStrategy):
        return []
    shares = [(step_weights(plan, number) or {}).get(CANDIDATE, 0.0) for number in range(plan.step_count)]
    return [number for number, share in enumerate(shares) if 0 < share < 1]


def _slower_without_champion(
    plan: RolloutPlan, gate: LatencyGate, evidence: Evidence, arm: str, confidence: float
) -> str | None:
    """Return what keeps a candidate from passing at a step that leaves no request to the champion; None if nothing.

    As for error rates, no one can tell whether the champion would be as slow now, so a person has to look.
    """
    steps = _compared_steps(plan)
    if not steps or evidence.number in steps or not evidence.steps:
        return None
    before = ArmStatistics.sum(evidence.steps.get((number, CHAMPION), ArmStatistics()) for number in steps)
    pair = evidence.step.get(arm, ArmStatistics()), before
    ratio = _Ratio.of(plan, gate, evidence.number, pair, (1 + confidence) / 2)
    if ratio.low <= gate.ratio:
        return None
    return (
        f"The candidate's {100 * gate.quantile:g}th latency percentile is {_milliseconds(ratio.own)} since it answers "
        f"all requests, and the champion's was {_milliseconds(ratio.reference)} before. No requests to the champion "
        "show whether it would be as slow now."
    )


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
