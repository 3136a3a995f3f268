"""What the evidence of a rollout says about each gate: better, worse or inconclusive, in a sentence.

Every verdict comes from a test that holds at all times at once, so that a rollout may be looked at as often as anybody
likes. The plan's `false_alarm_rate` is shared out evenly over gates and candidates: with a chance of one minus that
rate, all intervals of all gates hold the truth during the whole rollout, and no decision that rests on them is wrong.
Evidence of all steps counts together, since at a step of 100 % there is nobody left to compare with; that candidate and
champion get other shares at each step does no harm to tests which compare arms however requests were shared out, as
long as the rates of the arms stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.serving.policy.policy import CHAMPION
from airflow_provider_mlops.serving.rollouts.arm_statistics import (
    LATENCY_EDGES,
    ArmStatistics,
    edge_from,
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
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison, Verdict


@dataclass(frozen=True)
class Evidence:
    """What has been counted of each arm, by its name.

    :ivar total: over all steps.
    :ivar step: in the present step.
    """

    total: Mapping[str, ArmStatistics] = field(default_factory=dict)
    step: Mapping[str, ArmStatistics] = field(default_factory=dict)

    @classmethod
    def of(cls, statistics: Mapping[tuple[int, str], ArmStatistics], step: int) -> Self:
        """From what the rollout store gives, by step and arm."""
        return cls(
            over_all_steps(statistics), {arm: found for (place, arm), found in statistics.items() if place == step}
        )

    def of_arm(self, arm: str) -> ArmStatistics:
        """Over all steps; nothing, where an arm has had no requests."""
        return self.total.get(arm, ArmStatistics())


class Finding(BaseModel):
    """What is known about one gate for one candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str = Field(description="What the gate is called.")
    arm: str = Field(description="The candidate.")
    verdict: Literal["better", "worse", "inconclusive"] = Field(
        description="`better`: the gate is passed. `worse`: it is failed. `inconclusive`: more requests would tell."
    )
    sentence: str = Field(description="The same in plain words, with the numbers.")


def findings(plan: RolloutPlan, evidence: Evidence) -> tuple[Finding, ...]:
    """Of all gates, for all candidates."""
    champion = evidence.of_arm(CHAMPION)
    return tuple(
        _finding(plan, gate, arm.name, evidence.of_arm(arm.name), champion)
        for arm in plan.arms[1:]
        for gate in plan.gates
    )


def _finding(plan: RolloutPlan, gate: Gate, arm: str, candidate: ArmStatistics, champion: ArmStatistics) -> Finding:
    confidence = plan.gate_confidence
    if isinstance(gate, ErrorRateGate):
        found = _error_rate(plan, gate, candidate, champion, confidence)
    elif isinstance(gate, LatencyGate):
        if gate.max_ms is None:
            verdict, sentence = _latency_ratio(plan, gate, candidate, champion, confidence)
            return Finding(gate=gate.title, arm=arm, verdict=verdict, sentence=sentence)
        found = _latency_limit(plan, gate, candidate, confidence)
    elif isinstance(gate, AgreementGate):
        from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit

        found = compare_rate_with_limit(
            candidate.agreed, candidate.compared, gate.min_rate, what="agreement with the champion",
            greater_is_better=True, confidence=confidence, expected_n=plan.expected_requests,
        )  # fmt: skip
    elif isinstance(gate, MetricGate):
        found = _metric(plan, gate, candidate, champion, confidence)
    else:
        if gate.classes is not None and (unknown := _undeclared(gate, champion)) is not None:
            return Finding(gate=gate.title, arm=arm, verdict="inconclusive", sentence=unknown)
        found = _drift(plan, gate, candidate, champion, confidence)
    return Finding(gate=gate.title, arm=arm, verdict=found.verdict, sentence=found.sentence)


def _error_rate(
    plan: RolloutPlan, gate: ErrorRateGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit, compare_rates

    if gate.max_rate is not None:
        return compare_rate_with_limit(
            candidate.errors, candidate.requests, gate.max_rate, what="error rate", greater_is_better=False,
            confidence=confidence, expected_n=plan.expected_requests,
        )  # fmt: skip
    return compare_rates(
        candidate.errors, candidate.requests, champion.errors, champion.requests, what="error rate",
        greater_is_better=False, margin=gate.margin, paired=_is_paired(plan), confidence=confidence,
        expected_n=plan.expected_requests,
    )  # fmt: skip


def _latency_limit(
    plan: RolloutPlan, gate: LatencyGate, candidate: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit
    from airflow_provider_mlops.stats.sequences.latency import count_slower_than

    assert gate.max_ms is not None
    edge = edge_from(gate.max_ms)
    slow, requests = count_slower_than(LATENCY_EDGES, candidate.latency_counts(), edge)
    return compare_rate_with_limit(
        slow, requests, 1 - gate.quantile, what=f"share of requests slower than {edge:.4g} ms",
        greater_is_better=False, confidence=confidence, expected_n=plan.expected_requests,
    )  # fmt: skip


def _latency_ratio(
    plan: RolloutPlan, gate: LatencyGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> tuple[Verdict, str]:
    """Each arm's quantile in an interval at half the error; the candidate's times the ratio lies beyond or not."""
    from airflow_provider_mlops.stats.sequences.latency import quantile_sequence

    own, other = (
        quantile_sequence(
            LATENCY_EDGES, arm.latency_counts(), gate.quantile, confidence=(1 + confidence) / 2,
            expected_n=plan.expected_requests,
        )
        for arm in (candidate, champion)
    )  # fmt: skip
    verdict: Verdict = "inconclusive"
    if own.high <= gate.ratio * other.low:
        verdict = "better"
    elif own.low > gate.ratio * other.high:
        verdict = "worse"
    said = {"better": "is at most", "worse": "is above", "inconclusive": "is not known to be at most"}[verdict]
    return verdict, (
        f"Latency, {100 * gate.quantile:g}th percentile: the candidate's {said} {gate.ratio:g} times the champion's; "
        f"it lies between {own.low:.4g} and {own.high:.4g} ms, and the champion's between {other.low:.4g} and "
        f"{other.high:.4g} ms, on {sum(candidate.latency.values()):,} and {sum(champion.latency.values()):,} answers."
    )


def _metric(
    plan: RolloutPlan, gate: MetricGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.lifecycle.rollout.sample_size import expected_n
    from airflow_provider_mlops.stats.sequences.compare_means import compare_bounded_means, compare_means
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rates

    reward = plan.reward
    assert reward is not None
    tuning = expected_n(plan)
    if reward.low is None or reward.high is None:
        return compare_means(
            candidate.moments(), champion.moments(), what="mean reward", greater_is_better=reward.greater_is_better,
            margin=gate.margin, goal=gate.goal, confidence=confidence, expected_n=tuning,
        )  # fmt: skip
    low, reach = reward.low, reward.high - reward.low
    if reward.is_binary:
        wins = [round((arm.reward_total - low * arm.reward_count) / reach) for arm in (candidate, champion)]
        return compare_rates(
            wins[0], candidate.reward_count, wins[1], champion.reward_count, what="reward rate",
            greater_is_better=reward.greater_is_better, margin=gate.margin / reach, goal=gate.goal,
            confidence=confidence, expected_n=tuning,
        )  # fmt: skip
    expected = reward.expected if reward.expected is not None else low + reach / 2
    return compare_bounded_means(
        candidate.bounded_moments(expected), champion.bounded_moments(expected), low=low, high=reward.high,
        what="mean reward", greater_is_better=reward.greater_is_better, margin=gate.margin, goal=gate.goal,
        confidence=confidence, expected_n=tuning,
    )  # fmt: skip


def _drift(
    plan: RolloutPlan, gate: DriftGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_drift import compare_drift
    from airflow_provider_mlops.stats.sequences.drift import drift_sequence

    drift = drift_sequence(
        candidate.output_counts(gate.cells), champion.output_counts(gate.cells), paired=_is_paired(plan),
        confidence=confidence, expected_n=plan.expected_requests,
    )  # fmt: skip
    return compare_drift(drift, gate.largest, confidence=confidence)


def _undeclared(gate: DriftGate, champion: ArmStatistics) -> str | None:
    """Why drift could not be seen, if most of the champion's predictions are of no declared class."""
    counts = champion.output_counts(gate.cells)
    total, unknown = sum(counts), counts[-1]
    if not unknown or total > 2 * unknown:
        return None
    declared = ", ".join(map(repr, gate.classes or ()))
    return f"Drift cannot be seen: {unknown / total:.0%} of the champion's predictions are none of {declared}."


def _is_paired(plan: RolloutPlan) -> bool:
    return plan.strategy.kind == "shadow"
