"""The next decision about a rollout: a pure function of its plan, its state, the evidence and the time.

A candidate is rolled back as soon as it fails one gate. It proceeds once it passes all gates, the step has lasted its
bake time, and the candidate has had enough requests in it. Everything else is inconclusive, including too little
traffic, which never counts as success. After a step has waited for `decision_timeout`, `on_inconclusive` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.lifecycle.rollout.best import probabilities_of_best
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import Finding, findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.lifecycle.rollout.winner import leader_of
from airflow_provider_mlops.serving.policy.policy import CHAMPION, COHORT
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.plan.strategies import BanditStrategy, ContextualStrategy, ShadowStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState

Action: TypeAlias = Literal["wait", "next_step", "hold", "extend", "ask", "roll_back", "promote", "end"]


class RolloutDecision(BaseModel):
    """The next action of a rollout, and its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action = Field(
        description="Next action. `wait`: check again later; `next_step`: start the next step; `hold`: keep the "
        "weights and wait for more evidence; `extend`: wait for another `decision_timeout`; `ask`: ask a person in "
        "Airflow; `roll_back`: return to the champion, because the candidate is worse or, if the plan says so, "
        "because the evidence stayed inconclusive; `promote`: the candidate becomes the champion; `end`: the champion "
        "stays, although the candidate failed no gate."
    )
    reason: str = Field(description="Reason for the action.")
    findings: tuple[Finding, ...] = Field(default=(), description="Verdict on each gate.")
    version: int | None = Field(default=None, description="Version to promote.")
    probabilities: dict[str, float] = Field(
        default_factory=dict,
        description="For bandits, the probability that each arm is the best, given the rewards and a "
        "prior. It is for display only: a sequential test decides, because this probability exceeds any limit if equal "
        "versions are watched for long enough.",
    )

    @property
    def action_text(self) -> str:
        """The action in words."""
        return self.action.replace("_", " ")


@dataclass(frozen=True)
class _Situation:
    """Everything that a decision is based on."""

    plan: RolloutPlan
    state: RolloutState
    evidence: Evidence
    now: datetime
    findings: tuple[Finding, ...]
    probabilities: dict[str, float]

    def decision(self, action: Action, reason: str, version: int | None = None) -> RolloutDecision:
        return RolloutDecision(
            action=action,
            reason=reason,
            findings=self.findings,
            version=version,
            probabilities=self.probabilities,
        )


def decide(plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime) -> RolloutDecision:
    """Return the next decision. Raises ValueError if the rollout is over."""
    if not state.is_in_progress:
        raise ValueError(f"the rollout is over: {state.status}")
    situation = _Situation(plan, state, evidence, now, findings(plan, evidence), probabilities_of_best(plan, evidence))
    if state.is_paused:
        return situation.decision("wait", f"paused by {state.changed_by}: {state.reason}")
    worse = [finding for finding in situation.findings if finding.verdict == "worse"]
    if worse:
        return situation.decision("roll_back", _sentences(worse))
    if isinstance(plan.strategy, BanditStrategy | ContextualStrategy):
        return _decide_bandit(situation)
    return _decide_gated(situation)


def decides_at(plan: RolloutPlan, state: RolloutState) -> datetime:
    """Return the time at which `on_inconclusive` decides, if the evidence has not decided before."""
    return state.waiting_since + plan.decision_timeout


def apply(decision: RolloutDecision, plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    """Return the state that a decision leads to; the same state for `wait`."""
    reason = decision.reason
    if decision.action == "next_step":
        return transitions.next_step(plan, state, now, by, reason)
    if decision.action in ("hold", "ask"):
        return transitions.held(state, now, by, reason)
    if decision.action == "extend":
        return transitions.extended(state, now, by, reason)
    if decision.action == "roll_back":
        return transitions.rolled_back(plan, state, now, by, reason)
    if decision.action == "promote" and decision.version is not None:
        return transitions.promoted(plan, state, decision.version, now, by, reason)
    if decision.action == "end":
        return transitions.ended(plan, state, now, by, reason)
    return state


def _decide_bandit(situation: _Situation) -> RolloutDecision:
    plan, state, probabilities = situation.plan, situation.state, situation.probabilities
    best = max(probabilities, key=lambda arm: probabilities[arm])
    candidates = [arm.name for arm in plan.arms[1:]]
    # If there are several candidates, the one to be promoted must have had enough requests.
    missing = _missing(situation, [best] if best in candidates else candidates)
    leader = leader_of(plan, situation.evidence, best)
    if not leader.wins and not state.approved:
        missing.append(f"{best} has the highest rewards so far, but may not be the best version: {leader.sentence}")
    missing += _failing_gates([finding for finding in situation.findings if finding.arm == best], state)
    if missing:
        return _decide_inconclusive(situation, missing)
    if leader.wins:
        reason = f"{best} is the best version: {leader.sentence}"
    else:
        reason = f"approved by {state.changed_by}: {state.reason.rstrip('.')}; {leader.sentence}"
    if best == CHAMPION:
        return situation.decision("end", f"{reason}: the champion stays")
    return situation.decision("promote", reason, next(arm.version for arm in plan.arms if arm.name == best))


def _decide_gated(situation: _Situation) -> RolloutDecision:
    plan, state = situation.plan, situation.state
    if plan.is_cohort_step(state.step):
        missing = _missing(situation, [COHORT])
        missing += _failing_gates(situation.findings, state)
    else:
        missing = _missing(situation, [arm.name for arm in plan.arms[1:]])
        if not missing and not state.approved:
            ended = _end_of_test(situation)
            if ended is not None:
                return situation.decision("end", ended)
        missing += _failing_gates(_of_random_shares(situation.findings), state)
    if missing:
        return _decide_inconclusive(situation, missing)
    reason = _reason_to_proceed(situation.findings, state)
    if state.step + 1 < plan.step_count:
        return situation.decision("next_step", reason)
    if isinstance(plan.strategy, ShadowStrategy) and plan.strategy.on_success == "end":
        return situation.decision("end", f"{reason} The champion stays, because on_success is 'end'.")
    return situation.decision("promote", reason, plan.candidates[0])


def _decide_inconclusive(situation: _Situation, missing: list[str]) -> RolloutDecision:
    plan, state = situation.plan, situation.state
    text = "; ".join(missing)
    if situation.now < decides_at(plan, state):
        return situation.decision("wait", text)
    if state.status == "held":
        return situation.decision("wait", f"held: {text}")
    another = "another " if state.extensions else ""
    reason = f"no decision within {another}{format_duration(plan.decision_timeout)}: {text}"
    if plan.on_inconclusive == "extend":
        if state.extensions < plan.max_extensions:
            return situation.decision("extend", reason)
        return situation.decision("roll_back", f"{reason}; the step was extended {pluralize(state.extensions, 'time')}")
    return situation.decision(plan.on_inconclusive, reason)


def _missing(situation: _Situation, arms: Sequence[str]) -> list[str]:
    """Return what the step still needs, apart from the gates. The requests to `arms` in this step count together."""
    plan, state, evidence = situation.plan, situation.state, situation.evidence
    if state.approved:
        return []
    missing = []
    left = plan.bake_time - (situation.now - state.step_started_at)
    if left.total_seconds() > 0:
        bake_time = format_duration(plan.bake_time)
        missing.append(f"the step lasts at least {bake_time}; time left: {format_duration(left)}")
    requests = sum(evidence.step[arm].requests for arm in arms if arm in evidence.step)
    if plan.cohort is not None and plan.is_cohort_step(state.step):
        if requests < plan.cohort.min_requests:
            missing.append(
                f"too few requests of the cohort so far: {requests:,} of at least {plan.cohort.min_requests:,} (a "
                f"request belongs to the cohort if {plan.cohort.text})"
            )
    elif requests < plan.min_requests:
        missing.append(f"too few requests in this step: {requests:,} of at least {plan.min_requests:,}")
    return missing


def _failing_gates(found: Sequence[Finding], state: RolloutState) -> list[str]:
    """Return the sentences of gates that are not passed; none if a person approved the step."""
    if state.approved:
        return []
    return [finding.sentence.rstrip(".") for finding in found if finding.verdict != "better"]


def _of_random_shares(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings without the cohort's, which must be passed in the cohort's own step only."""
    return [finding for finding in found if finding.arm != COHORT]


def _reason_to_proceed(found: Sequence[Finding], state: RolloutState) -> str:
    if state.approved:
        return f"Approved by {state.changed_by}: {state.reason}."
    if passed := [finding for finding in found if finding.verdict == "better"]:
        return _sentences(passed)
    return "There are no gates, and the step has had its minimum duration and number of requests."


def _end_of_test(situation: _Situation) -> str | None:
    """Return why an A/B test ends at its sample size; None if it has not reached it, or if it has decided."""
    plan, evidence = situation.plan, situation.evidence
    sizes = sample_sizes(plan)
    if sizes is None or all(finding.verdict == "better" for finding in _of_random_shares(situation.findings)):
        return None
    champion, candidate = (evidence.of_arm(arm.name).reward_count for arm in plan.arms)
    if candidate < sizes[0] or champion < sizes[1]:
        return None
    return (
        f"The test has reached its sample size, {candidate:,} rewards of the candidate and {champion:,} of the "
        f"champion, without a decision, so the champion stays. {_sentences(situation.findings)}"
    )


def _sentences(found: Sequence[Finding]) -> str:
    several = len({finding.arm for finding in found}) > 1 or any(finding.arm == COHORT for finding in found)
    return " ".join(f"{finding.arm}: {finding.sentence}" if several else finding.sentence for finding in found)
