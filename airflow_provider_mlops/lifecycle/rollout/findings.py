"""Findings: the verdict on each gate of a rollout (better, worse or inconclusive) and a sentence with the numbers.

Every verdict comes from a sequential test that is valid at all times at once, so a rollout may be checked as often as
you like. The plan's `false_alarm_rate` is divided equally between gates and candidates: with a probability of one minus
that rate, all confidence intervals of all gates contain the true values during the whole rollout, and no decision based
on them is wrong. Error rates and rewards are compared within each step, where both versions have a constant share of
the traffic, and the differences of all steps are added up: a step with 100% for the candidate leaves no champion to
compare with. What was assigned at random counts as one: a request with all its rows, or a user of a sticky rollout with
all their requests.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.lifecycle.rollout.error_rates import compare_error_rates
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.latencies import compare_latencies, compare_latency_with_limit
from airflow_provider_mlops.lifecycle.rollout.rewards import compare_rewards
from airflow_provider_mlops.serving.policy.policy import CHAMPION, COHORT
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.plan.gates import (
    AgreementGate,
    DriftGate,
    ErrorRateGate,
    Gate,
    LatencyGate,
    MetricGate,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison


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
    estimate: float | None = Field(
        default=None, description="Estimate of the value that the gate compares; None if there is none."
    )
    low: float | None = Field(
        default=None, description="Lower end of its confidence interval; None if it is unbounded."
    )
    high: float | None = Field(
        default=None, description="Upper end of its confidence interval; None if it is unbounded."
    )
    required: float | None = Field(
        default=None, description="Value that the whole interval must be above or below; None if there is none."
    )


def findings(plan: RolloutPlan, evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings of all gates for all candidates, and those of the cohort's gates.

    In the cohort's step no request is divided at random, so only the cohort's gates have findings.
    """
    if plan.is_cohort_step(evidence.number):
        return _of_cohort(plan, evidence)
    of_candidates = tuple(_finding(plan, gate, arm.name, evidence) for arm in plan.arms[1:] for gate in plan.gates)
    return of_candidates + _of_cohort(plan, evidence)


def _of_cohort(plan: RolloutPlan, evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings of the cohort's gates. They have fixed limits, so no other arm's requests count."""
    if plan.cohort is None:
        return ()
    # A cohort has fewer requests than a random share: the tests are most sensitive at the number that it must reach.
    # Its people are not a sample of all users, so its requests are counted one by one.
    tuned = plan.model_copy(update={"expected_requests": plan.cohort.min_requests, "sticky": None})
    return tuple(_finding(tuned, gate, COHORT, evidence) for gate in plan.cohort.gates)


def _finding(plan: RolloutPlan, gate: Gate, arm: str, evidence: Evidence) -> Finding:
    confidence, candidate, champion = plan.gate_confidence, evidence.of_arm(arm), evidence.of_arm(CHAMPION)
    if isinstance(gate, ErrorRateGate):
        comparison = compare_error_rates(plan, gate, evidence, arm, confidence)
    elif isinstance(gate, LatencyGate):
        if gate.max_latency_ms is None:
            latencies = compare_latencies(plan, gate, evidence, arm, confidence)
            return Finding(
                gate=gate.title,
                arm=arm,
                verdict=latencies.verdict,
                sentence=latencies.sentence,
                low=_finite(latencies.low),
                high=_finite(latencies.high),
                required=gate.ratio,
            )
        comparison = compare_latency_with_limit(plan, gate, gate.max_latency_ms, candidate, confidence)
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
        comparison = compare_rewards(plan, gate, evidence, (arm, CHAMPION), confidence)
    else:
        if gate.classes is not None and (unknown := _undeclared(gate, champion)) is not None:
            return Finding(gate=gate.title, arm=arm, verdict="inconclusive", sentence=unknown)
        comparison = _drift(plan, gate, candidate, champion, confidence)
    return Finding(
        gate=gate.title,
        arm=arm,
        verdict=comparison.verdict,
        sentence=comparison.sentence,
        estimate=_finite(comparison.estimate),
        low=_finite(comparison.interval.low),
        high=_finite(comparison.interval.high),
        required=comparison.required,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _drift(
    plan: RolloutPlan, gate: DriftGate, candidate: ArmStatistics, champion: ArmStatistics, confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_drift import compare_drift
    from airflow_provider_mlops.stats.sequences.drift import drift_sequence

    drift = drift_sequence(
        candidate.output_counts(gate.cells),
        champion.output_counts(gate.cells),
        paired=plan.strategy.kind == "shadow",
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
