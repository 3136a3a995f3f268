"""The verdict on a candidate's error rate.

Requests are compared with those that the other version answered at the same step, when both had a known share of the
traffic. An outage that hits both versions therefore counts against neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.serving.policy.policy import CANDIDATE, CHAMPION
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, cluster_sums
from airflow_provider_mlops.serving.rollouts.evidence.expected_failures import LEVELS
from airflow_provider_mlops.serving.rollouts.plan.gates import ErrorRateGate
from airflow_provider_mlops.serving.rollouts.plan.strategies import AbStrategy, CanaryStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, step_weights

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.sequences.clusters import ClusterSums
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison
    from airflow_provider_mlops.stats.sequences.concurrent_rates import ConcurrentCounts


def compare_error_rates(
    plan: RolloutPlan, gate: ErrorRateGate, evidence: Evidence, arm: str, confidence: float
) -> SequentialComparison:
    """Compare a candidate's error rate with the champion's, or with the gate's limit."""
    if gate.max_rate is not None:
        return _with_limit(plan, gate.max_rate, evidence.of_arm(arm), confidence)
    comparison = _with_champion(plan, gate, evidence, arm, confidence)
    if comparison.verdict == "better" and (problem := _worse_without_champion(plan, gate, evidence, arm, confidence)):
        return replace(comparison, verdict="inconclusive", sentence=problem)
    return comparison


def margin_for_now(plan: RolloutPlan, margin: float, step: int) -> float | None:
    """Return the margin that is enough to start the next step; None if it is `margin` itself.

    At a small share, even a version that fails often makes few of all requests fail. The next step may start once the
    candidate's failures are certain to add at most `margin` to those of *all* requests, at the share that it then gets:
    Xu, Duan and Huang (2018), *SQR: balancing speed, quality and risk in online experiments*, KDD.

    >>> plan = RolloutPlan(champion=1, candidates=(2,))
    >>> [margin_for_now(plan, 0.01, step) for step in range(4)]
    [0.04, 0.02, None, None]
    """
    if not isinstance(plan.strategy, CanaryStrategy) or step + 1 >= plan.step_count:
        return None
    share = (step_weights(plan, step + 1) or {}).get(CANDIDATE, 1.0)
    return None if share >= 1 else min(margin / share, 0.99)


def _with_champion(
    plan: RolloutPlan, gate: ErrorRateGate, evidence: Evidence, arm: str, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_concurrent_rates, compare_rates

    candidate, champion = evidence.of_arm(arm), evidence.of_arm(CHAMPION)
    now = margin_for_now(plan, gate.margin, evidence.number) if evidence.steps else None
    if plan.sticky is not None:
        sums = [cluster_sums([part.request_clusters for part in evidence.by_step(name)]) for name in (arm, CHAMPION)]
        return _compare_users(plan, gate, sums, (candidate.requests, champion.requests), now, confidence)
    stretches = concurrent_counts(plan, evidence, arm)
    if stretches is not None:
        return compare_concurrent_rates(
            stretches,
            what="error rate",
            greater_is_better=False,
            margin=gate.margin,
            margin_for_now=now,
            confidence=confidence,
        )
    return compare_rates(
        candidate.errors,
        candidate.requests,
        champion.errors,
        champion.requests,
        what="error rate",
        greater_is_better=False,
        margin=gate.margin,
        paired=plan.strategy.kind == "shadow",
        confidence=confidence,
        expected_n=plan.expected_requests,
    )


def concurrent_counts(plan: RolloutPlan, evidence: Evidence, arm: str) -> list[ConcurrentCounts] | None:
    """Return the counts of each step with its share, if requests were assigned with these shares; None otherwise.

    The shares of bandits follow from the rewards. Someone may also have changed the shares during a step. Within a
    step, requests are divided by the rate of failures that was expected before them, so that an outage of both versions
    is expected.
    """
    from airflow_provider_mlops.stats.sequences.concurrent_rates import ConcurrentCounts, fits_shares

    if not evidence.steps or not isinstance(plan.strategy, CanaryStrategy | AbStrategy):
        return None
    stretches: list[ConcurrentCounts] = []
    divided: list[ConcurrentCounts] = []
    for number, own, other in zip(
        evidence.step_numbers, evidence.by_step(arm), evidence.by_step(CHAMPION), strict=True
    ):
        share = (step_weights(plan, number) or {}).get(arm, 0.0) if number < plan.step_count else 0.0
        if 0 < share < 1:
            stretches.append(ConcurrentCounts(own.errors, own.requests, other.errors, other.requests, share))
            divided += _by_expected_errors(own, other, share)
    if not fits_shares(stretches):
        return None
    # If a version answers so late that its requests meet another rate, that rate is not used.
    return divided if fits_shares(divided) else stretches


def _by_expected_errors(own: ArmStatistics, other: ArmStatistics, share: float) -> list[ConcurrentCounts]:
    from airflow_provider_mlops.stats.sequences.concurrent_rates import ConcurrentCounts

    parts = []
    for level in range(LEVELS + 1):
        own_requests, own_errors = _at_level(own, level)
        other_requests, other_errors = _at_level(other, level)
        if own_requests + other_requests:
            counts = (own_errors, own_requests, other_errors, other_requests)
            parts.append(ConcurrentCounts(*counts, share=share, expected=level / LEVELS))
    return parts


def _at_level(arm: ArmStatistics, level: int) -> tuple[int, int]:
    """Return the number of requests and of errors at a level of `ExpectedFailures`."""
    if level:
        return arm.expected_errors.get(level, (0, 0))
    counted = list(arm.expected_errors.values())
    return arm.requests - sum(requests for requests, _ in counted), arm.errors - sum(errors for _, errors in counted)


def _compare_users(
    plan: RolloutPlan,
    gate: ErrorRateGate,
    sums: list[ClusterSums],
    counts: tuple[int, int],
    now: float | None,
    confidence: float,
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.clusters import variance_to_detect
    from airflow_provider_mlops.stats.sequences.compare_clusters import compare_clusters

    expected = variance_to_detect(gate.margin, confidence) if gate.margin else 0.5 / plan.expected_requests
    return compare_clusters(
        sums[0],
        sums[1],
        counts,
        what="error rate",
        greater_is_better=False,
        expected_variance=expected,
        is_rate=True,
        margin=gate.margin,
        margin_for_now=now,
        confidence=confidence,
    )


def _with_limit(plan: RolloutPlan, limit: float, candidate: ArmStatistics, confidence: float) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_clusters import compare_clusters_with_limit
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit

    if plan.sticky is not None:
        return compare_clusters_with_limit(
            cluster_sums([candidate.request_clusters]),
            candidate.requests,
            limit,
            what="error rate",
            greater_is_better=False,
            expected_variance=limit * (1 - limit) / plan.expected_requests,
            confidence=confidence,
        )
    return compare_rate_with_limit(
        candidate.errors,
        candidate.requests,
        limit,
        what="error rate",
        greater_is_better=False,
        confidence=confidence,
        expected_n=plan.expected_requests,
    )


def _worse_without_champion(
    plan: RolloutPlan, gate: ErrorRateGate, evidence: Evidence, arm: str, confidence: float
) -> str | None:
    """Return what keeps a candidate from passing at a step that leaves no request to the champion; None if nothing.

    Without a champion at the same time, no one can distinguish a fault of the candidate from an outage that would have
    hit the champion as well. If the candidate fails more often than both versions did before, a person has to look.
    """
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rates

    number = evidence.number
    if not isinstance(plan.strategy, CanaryStrategy) or (step_weights(plan, number) or {}).get(arm, 0.0) < 1:
        return None
    now = evidence.step.get(arm, ArmStatistics())
    before = ArmStatistics.sum(
        part for (step, name), part in evidence.steps.items() if step < number and name in (arm, CHAMPION)
    )
    if not before.requests:
        return None
    change = compare_rates(
        now.errors,
        now.requests,
        before.errors,
        before.requests,
        what="error rate",
        greater_is_better=False,
        margin=gate.margin,
        confidence=confidence,
        expected_n=plan.expected_requests,
    )
    if change.verdict != "worse":
        return None
    return (
        f"Error rate: since the candidate answers all requests, {now.errors / now.requests:.2%} of them fail, and "
        f"{before.errors / before.requests:.2%} of the requests to both versions failed before. No requests to the "
        "champion show whether it would fail as often now."
    )
