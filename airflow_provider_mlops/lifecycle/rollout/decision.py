"""What happens next to a rollout: a pure function of its plan, its state, the evidence and the time.

A candidate is rolled back as soon as one gate is worse, and goes on once all are better and the step has lasted its
bake time and seen its requests. What is neither is inconclusive, and too little traffic is that as well: it never
counts as success. When a step has waited for `decision_timeout`, `on_inconclusive` says what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.lifecycle.rollout.best import probabilities_of_best
from airflow_provider_mlops.lifecycle.rollout.findings import Evidence, Finding, findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.policy.policy import CHAMPION
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState
from airflow_provider_mlops.serving.rollouts.strategies import BanditStrategy, ContextualStrategy, ShadowStrategy

Action: TypeAlias = Literal["wait", "go_on", "hold", "extend", "ask", "roll_back", "promote", "end"]


class RolloutDecision(BaseModel):
    """What to do, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action = Field(
        description="`wait`: look again later. `go_on`: the next step. `hold`, `extend`, `ask`: the evidence does not "
        "tell, and the plan asks for this then. `roll_back`: the candidate is worse. `promote`: it becomes the "
        "champion. `end`: the champion stays, and nothing is held against the candidate."
    )
    reason: str = Field(description="Why, in plain words.")
    findings: tuple[Finding, ...] = Field(default=(), description="What is known about each gate.")
    version: int | None = Field(default=None, description="The version to promote.")
    probabilities: dict[str, float] = Field(
        default_factory=dict, description="Of bandits: the probability of each arm that it is the best one."
    )


def decide(plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime) -> RolloutDecision:
    """The decision. Raises ValueError if the rollout is over."""
    if not state.is_in_progress:
        raise ValueError(f"the rollout is over: {state.status}")
    found = findings(plan, evidence)
    chances = probabilities_of_best(plan, evidence)

    def decision(action: Action, reason: str, version: int | None = None) -> RolloutDecision:
        return RolloutDecision(action=action, reason=reason, findings=found, version=version, probabilities=chances)

    worse = [finding for finding in found if finding.verdict == "worse"]
    if worse:
        return decision("roll_back", _sentences(worse))
    candidates = [arm.name for arm in plan.arms[1:]]
    best = max(chances, key=lambda arm: chances[arm]) if chances else None
    # Of several versions it is the one to be promoted that must have shown itself.
    shown = [best] if best in candidates else candidates
    missing = [] if state.approved else _missing(plan, state, evidence, shown, now)
    if best is not None and isinstance(plan.strategy, BanditStrategy | ContextualStrategy):
        limit = plan.strategy.probability_limit
        if chances[best] < limit and not state.approved:
            missing.append(
                f"{best} is the best with a probability of {chances[best]:.3f}, below the limit of {limit:g}"
            )
        missing += _open([finding for finding in found if finding.arm == best], state)
        if not missing:
            reason = f"{best} is the best with a probability of {chances[best]:.3f}, above the limit of {limit:g}"
            if best == CHAMPION:
                return decision("end", f"{reason}: the champion stays")
            return decision("promote", reason, next(arm.version for arm in plan.arms if arm.name == best))
    else:
        if not missing and not state.approved:
            ended = _planned_end(plan, evidence, found)
            if ended is not None:
                return decision("end", ended)
        missing += _open(found, state)
        if not missing:
            reason = _passed(found, state)
            if state.step + 1 < plan.strategy.step_count:
                return decision("go_on", reason)
            if isinstance(plan.strategy, ShadowStrategy) and plan.strategy.on_success == "end":
                return decision("end", f"{reason} The champion stays, as the strategy asks for.")
            return decision("promote", reason, plan.candidates[0])
    waited = now - state.step_started_at
    allowed = plan.decision_timeout * (1 + state.extensions)
    text = "; ".join(missing)
    if waited < allowed:
        return decision("wait", text)
    if state.status == "held":
        return decision("wait", f"held: {text}")
    late = f"no decision within {allowed}: {text}"
    if plan.on_inconclusive == "extend":
        if state.extensions < plan.max_extensions:
            return decision("extend", late)
        return decision("roll_back", f"{late}; the step was extended {state.extensions} times")
    return decision(plan.on_inconclusive, late)


def apply(decision: RolloutDecision, plan: RolloutPlan, state: RolloutState, now: datetime, by: str) -> RolloutState:
    """The state that a decision leads to; the same one for `wait`."""
    reason = decision.reason
    if decision.action == "go_on":
        return transitions.next_step(plan, state, now, by, reason)
    if decision.action in ("hold", "ask"):
        return transitions.held(state, now, by, reason)
    if decision.action == "extend":
        return transitions.extended(state, now, by, reason)
    if decision.action == "roll_back":
        return transitions.rolled_back(plan, state, now, by, reason)
    if decision.action == "promote":
        assert decision.version is not None
        return transitions.promoted(plan, state, decision.version, now, by, reason)
    if decision.action == "end":
        return transitions.ended(plan, state, now, by, reason)
    return state


def _missing(
    plan: RolloutPlan, state: RolloutState, evidence: Evidence, arms: Sequence[str], now: datetime
) -> list[str]:
    """What keeps the step from being decided, whatever the gates say.

    :param arms: whose requests in this step count together.
    """
    missing = []
    left = plan.bake_time - (now - state.step_started_at)
    if left.total_seconds() > 0:
        missing.append(f"the step lasts {plan.bake_time} at least, {left} more")
    requests = sum(evidence.step[arm].requests for arm in arms if arm in evidence.step)
    if requests < plan.min_requests:
        missing.append(f"too few requests in this step, {requests:,} of at least {plan.min_requests:,}")
    return missing


def _open(found: list[Finding] | tuple[Finding, ...], state: RolloutState) -> list[str]:
    """The gates that are not passed; none if a human let the step go on without."""
    if state.approved:
        return []
    return [finding.sentence.rstrip(".") for finding in found if finding.verdict != "better"]


def _passed(found: tuple[Finding, ...], state: RolloutState) -> str:
    if state.approved:
        return f"Approved by {state.changed_by}: {state.reason}."
    return _sentences(found) if found else "There are no gates; the step has lasted its time and seen its requests."


def _planned_end(plan: RolloutPlan, evidence: Evidence, found: tuple[Finding, ...]) -> str | None:
    """Why an A/B test ends at its planned size; None while it is not there, or where it has decided."""
    planned = sample_sizes(plan)
    if planned is None or all(finding.verdict == "better" for finding in found):
        return None
    came = [evidence.of_arm(arm.name).reward_count for arm in (plan.arms[1], plan.arms[0])]
    if came[0] < planned[0] or came[1] < planned[1]:
        return None
    return (
        f"The test has its planned size, {came[0]:,} rewards of the candidate and {came[1]:,} of the champion, without "
        f"a decision: the champion stays. {_sentences(found)}"
    )


def _sentences(found: list[Finding] | tuple[Finding, ...]) -> str:
    several = len({finding.arm for finding in found}) > 1
    return " ".join(f"{finding.arm}: {finding.sentence}" if several else finding.sentence for finding in found)
