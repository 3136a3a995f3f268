"""Findings: the verdict on each gate of a rollout (better, worse or inconclusive) and a sentence with the numbers.

Every verdict comes from a sequential test that is valid at all times at once, so a rollout may be checked as often as
you like. The plan's `false_alarm_rate` is divided equally between gates and candidates: with a probability of one minus
that rate, all confidence intervals of all gates contain the true values during the whole rollout, and no decision based
on them is wrong. The evidence of all steps counts together, because a step with 100% for the candidate leaves no
champion to compare with. The shares may differ between steps: the tests compare arms however requests were divided, as
long as the rates of the arms stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.policy.policy import CHAMPION, COHORT
from airflow_provider_mlops.serving.rollouts.arm_statistics import (
    LATENCY_EDGES,
    ArmStatistics,
    edge_at_least,
    over_all_steps,
)
from airflow_provider_mlops.serving.rollouts.gates import (
    AgreementGate,
    DriftGate,
    ErrorRateGate,
    Gate,
    LatencyGate,
    MetricGate,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.intervals.interval import Interval
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison, Verdict


@dataclass(frozen=True)
class Evidence:
    """The statistics of each arm, by its name.

    Parameters
    ----------
    total
        Statistics over all steps.
    step
        Statistics of the current step.
    number
        Number of the current step, starting at 0.
    """

    total: Mapping[str, ArmStatistics] = field(default_factory=dict)
    step: Mapping[str, ArmStatistics] = field(default_factory=dict)
    number: int = 0

    @classmethod
    def of(cls, statistics: Mapping[tuple[int, str], ArmStatistics], step: int) -> Self:
        """Return the evidence from the rollout store's statistics by step and arm."""
        current = {arm: part for (number, arm), part in statistics.items() if number == step}
        return cls(over_all_steps(statistics), current, step)

    def of_arm(self, arm: str) -> ArmStatistics:
        """Return the statistics of an arm over all steps; zeros if it has had no requests."""
        return self.total.get(arm, ArmStatistics())


class Finding(BaseModel):
    """The verdict on one gate for one candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str = Field(description="Name of the gate.")
    arm: str = Field(description="Name of the candidate's arm.")
    verdict: Literal["better", "worse", "inconclusive"] = Field(
        description="Verdict on the gate. `better`: the candidate passes; `worse`: it fails; `inconclusive`: more "
        "requests are needed."
    )
    sentence: str = Field(description="Verdict in a sentence, with the numbers.")


def findings(plan: RolloutPlan, evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings of all gates for all candidates, and those of the cohort's gates.

    In the cohort's step no request is divided at random, so only the cohort's gates have findings.
    """
    if plan.is_cohort_step(evidence.number):
        return _of_cohort(plan, evidence)
    champion = evidence.of_arm(CHAMPION)
    of_candidates = tuple(
        _finding(plan, gate, arm.name, evidence.of_arm(arm.name), champion)
        for arm in plan.arms[1:]
        for gate in plan.gates
    )
    return of_candidates + _of_cohort(plan, evidence)


def _of_cohort(plan: RolloutPlan, evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings of the cohort's gates. They have fixed limits, so no other arm's requests count."""
    if plan.cohort is None:
        return ()
    # A cohort has fewer requests than a random share: the tests are most sensitive at the number that it must reach.
    tuned = plan.model_copy(update={"expected_requests": plan.cohort.min_requests})
    cohort = evidence.of_arm(COHORT)
    return tuple(_finding(tuned, gate, COHORT, cohort, ArmStatistics()) for gate in plan.cohort.gates)


def _finding(plan: RolloutPlan, gate: Gate, arm: str, candidate: ArmStatistics, champion: ArmStatistics) -> Finding:
    confidence = plan.gate_confidence
    if isinstance(gate, ErrorRateGate):
        comparison = _error_rate(plan, gate, candidate, champion, confidence)
    elif isinstance(gate, LatencyGate):
        if gate.max_latency_ms is None:
            verdict, sentence = _latency_ratio(plan, gate, candidate, champion, confidence)
            return Finding(gate=gate.title, arm=arm, verdict=verdict, sentence=sentence)
        comparison = _latency_limit(plan, gate, gate.max_latency_ms, candidate, confidence)
    elif isinstance(gate, AgreementGate):
        from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit

        comparison = compare_rate_with_limit(
            candidate.agreed,
            candidate.compared,
            gate.min_rate,
            what="agreement with the champion",
            greater_is_better=True,
            confidence=confidence,
            expected_n=plan.expected_requests,
        )
    elif isinstance(gate, MetricGate):
        comparison = _metric(plan, gate, candidate, champion, confidence)
    else:
        if gate.classes is not None and (unknown := _undeclared(gate, champion)) is not None:
            return Finding(gate=gate.title, arm=arm, verdict="inconclusive", sentence=unknown)
        comparison = _drift(plan, gate, candidate, champion, confidence)
    return Finding(gate=gate.title, arm=arm, verdict=comparison.verdict, sentence=comparison.sentence)


def _error_rate(
    plan: RolloutPlan, gate: ErrorRateGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit, compare_rates

    if gate.max_rate is not None:
        return compare_rate_with_limit(
            candidate.errors,
            candidate.requests,
            gate.max_rate,
            what="error rate",
            greater_is_better=False,
            confidence=confidence,
            expected_n=plan.expected_requests,
        )
    return compare_rates(
        candidate.errors,
        candidate.requests,
        champion.errors,
        champion.requests,
        what="error rate",
        greater_is_better=False,
        margin=gate.margin,
        paired=_is_paired(plan),
        confidence=confidence,
        expected_n=plan.expected_requests,
    )


def _latency_limit(
    plan: RolloutPlan, gate: LatencyGate, max_latency_ms: float, candidate: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit
    from airflow_provider_mlops.stats.sequences.latency import count_slower_than

    edge = edge_at_least(max_latency_ms)
    slow, requests = count_slower_than(LATENCY_EDGES, candidate.latency_counts(), edge)
    return compare_rate_with_limit(
        slow,
        requests,
        1 - gate.quantile,
        what=f"share of requests slower than {edge:.4g} ms",
        greater_is_better=False,
        confidence=confidence,
        expected_n=plan.expected_requests,
    )


def _latency_ratio(
    plan: RolloutPlan, gate: LatencyGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> tuple[Verdict, str]:
    """Compare the arms' quantiles, each with a confidence interval at half the error rate."""
    from airflow_provider_mlops.stats.sequences.latency import quantile_sequence

    own, reference = (
        quantile_sequence(
            LATENCY_EDGES,
            arm.latency_counts(),
            gate.quantile,
            confidence=(1 + confidence) / 2,
            expected_n=plan.expected_requests,
        )
        for arm in (candidate, champion)
    )
    verdict: Verdict = "inconclusive"
    if own.high <= gate.ratio * reference.low:
        verdict = "better"
    elif own.low > gate.ratio * reference.high:
        verdict = "worse"
    relation = {"better": "is at most", "worse": "exceeds", "inconclusive": "may or may not exceed"}[verdict]
    return verdict, (
        f"The candidate's {100 * gate.quantile:g}th latency percentile {relation} {gate.ratio:g} times the champion's: "
        f"{_milliseconds(own)} for the candidate ({pluralize(sum(candidate.latency.values()), 'answer')}), "
        f"{_milliseconds(reference)} for the champion ({pluralize(sum(champion.latency.values()), 'answer')})."
    )


def _milliseconds(interval: Interval) -> str:
    if interval.low <= 0 and math.isinf(interval.high):
        return "unknown"
    if math.isinf(interval.high):
        return f"at least {interval.low:.4g} ms"
    return f"{interval.low:.4g} to {interval.high:.4g} ms"


def _metric(
    plan: RolloutPlan, gate: MetricGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.lifecycle.rollout.sample_size import expected_n
    from airflow_provider_mlops.stats.sequences.compare_means import compare_bounded_means, compare_means
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rates

    reward = plan.required_reward
    tuning = expected_n(plan)
    if reward.low is None or reward.high is None:
        return compare_means(
            candidate.moments(),
            champion.moments(),
            what="mean reward",
            greater_is_better=reward.greater_is_better,
            margin=gate.margin,
            goal=gate.goal,
            confidence=confidence,
            expected_n=tuning,
        )
    low, width = reward.low, reward.high - reward.low
    if reward.is_binary:
        wins = [round((arm.reward_total - low * arm.reward_count) / width) for arm in (candidate, champion)]
        return compare_rates(
            wins[0],
            candidate.reward_count,
            wins[1],
            champion.reward_count,
            what="reward rate",
            greater_is_better=reward.greater_is_better,
            margin=gate.margin / width,
            goal=gate.goal,
            confidence=confidence,
            expected_n=tuning,
        )
    expected = reward.expected_mean if reward.expected_mean is not None else low + width / 2
    return compare_bounded_means(
        candidate.bounded_moments(expected),
        champion.bounded_moments(expected),
        low=low,
        high=reward.high,
        what="mean reward",
        greater_is_better=reward.greater_is_better,
        margin=gate.margin,
        goal=gate.goal,
        confidence=confidence,
        expected_n=tuning,
    )


def _drift(
    plan: RolloutPlan, gate: DriftGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_drift import compare_drift
    from airflow_provider_mlops.stats.sequences.drift import drift_sequence

    drift = drift_sequence(
        candidate.output_counts(gate.cells),
        champion.output_counts(gate.cells),
        paired=_is_paired(plan),
        confidence=confidence,
        expected_n=plan.expected_requests,
    )
    return compare_drift(drift, gate.max_distance, confidence=confidence)


def _undeclared(gate: DriftGate, champion: ArmStatistics) -> str | None:
    """Return why drift cannot be detected, if most of the champion's predictions have undeclared classes."""
    counts = champion.output_counts(gate.cells)
    total, unknown = sum(counts), counts[-1]
    if not unknown or total > 2 * unknown:
        return None
    declared = ", ".join(map(repr, gate.classes or ()))
    return (
        f"Drift cannot be detected: {unknown / total:.0%} of the champion's predictions are not among the declared "
        f"classes {declared}."
    )


def _is_paired(plan: RolloutPlan) -> bool:
    return plan.strategy.kind == "shadow"
