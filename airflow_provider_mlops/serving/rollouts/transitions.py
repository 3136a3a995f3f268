"""From one state of a rollout to the next: pure functions, whose results are written by compare-and-set."""

from __future__ import annotations

import math
from datetime import datetime

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState, all_to, share_out


def started(plan: RolloutPlan, now: datetime, by: str) -> RolloutState:
    """The first state."""
    return RolloutState(
        status="running",
        step=0,
        weights=share_out(plan, 0),
        started_at=now,
        step_started_at=now,
        changed_at=now,
        by=by,
        reason="the rollout begins",
    )


def next_step(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """The step after this one."""
    step = state.step + 1
    if step >= plan.strategy.steps_count:
        raise ValueError(f"there is no step after {state.step}")
    return _changed(
        state, now, by, reason, status="running", step=step, weights=share_out(plan, step), step_started_at=now,
        extensions=0, approved=False,
    )  # fmt: skip


def held(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """The same weights until the evidence is there, or a human decides."""
    return _changed(state, now, by, reason, status="held")


def extended(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """More time for this step."""
    return _changed(state, now, by, reason, status="running", extensions=state.extensions + 1)


def prolonged(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """`decision_timeout` once more from now on, however long the step has waited."""
    extensions = math.ceil((now - state.step_started_at) / plan.decision_timeout)
    return _changed(state, now, by, reason, status="running", extensions=max(extensions, state.extensions + 1))


def approved(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """A human lets this step go on without clear evidence. What is clearly worse is rolled back all the same."""
    return _changed(state, now, by, reason, status="running", approved=True)


def promoted(plan: RolloutPlan, state: RolloutState, version: int, now: datetime, by: str, reason: str) -> RolloutState:
    """All traffic to a candidate."""
    return _over(plan, state, "promoted", version, now, by, reason)


def rolled_back(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """All traffic to the champion, because of the candidate."""
    return _over(plan, state, "rolled_back", plan.champion, now, by, reason)


def ended(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """All traffic to the champion, with nothing held against the candidate."""
    return _over(plan, state, "ended", plan.champion, now, by, reason)


def overtaken(state: RolloutState, version: int | None, now: datetime, by: str, reason: str) -> RolloutState:
    """Somebody else has moved the champion meanwhile: it is over at once, and the champion answers, whichever it is.

    :param version: the champion now.
    """
    return _changed(state, now, by, reason, status="ended", version=version)


def settled(state: RolloutState, now: datetime, by: TaskIdentity) -> RolloutState:
    """The end has been taken over by the task: alias and audit trail stand as they should."""
    return _changed(state, now, by.key, state.reason, settled=True, settled_in_try=by.try_number)


def _over(
    plan: RolloutPlan, state: RolloutState, status: str, version: int, now: datetime, by: str, reason: str
) -> RolloutState:
    if not state.is_under_way:
        raise ValueError(f"the rollout is over already: {state.status}")
    return _changed(state, now, by, reason, status=status, weights=all_to(plan, version), version=version)


def _changed(state: RolloutState, now: datetime, by: str, reason: str, **fields: object) -> RolloutState:
    changed = {**state.model_dump(), "changed_at": now, "by": by, "reason": reason, **fields}
    return RolloutState.model_validate(changed)
