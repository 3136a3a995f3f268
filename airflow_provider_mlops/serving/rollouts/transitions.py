"""Transitions of a rollout: pure functions from one state to the next. The store writes them by compare-and-set."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.rollouts.rollout import (
    RolloutPlan,
    RolloutState,
    Status,
    all_weight_to,
    step_weights,
)


def started(plan: RolloutPlan, now: datetime, by: str) -> RolloutState:
    """Return the first state."""
    return RolloutState(
        status="running",
        step=0,
        weights=step_weights(plan, 0),
        started_at=now,
        step_started_at=now,
        waiting_since=now,
        changed_at=now,
        changed_by=by,
        reason="the rollout started",
    )


def next_step(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state at the next step. Raises ValueError if there is none."""
    step = state.step + 1
    if step >= plan.step_count:
        raise ValueError(f"there is no step after step {state.step + 1}")
    return _changed(
        state,
        now,
        by,
        reason,
        status="running",
        step=step,
        weights=step_weights(plan, step),
        step_started_at=now,
        waiting_since=now,
        extensions=0,
        approved=False,
    )


def held(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that keeps the weights until there is enough evidence, or until a person decides."""
    return _changed(state, now, by, reason, status="held")


def extended(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state in which the step gets another `decision_timeout` from now on."""
    return _changed(state, now, by, reason, status="running", extensions=state.extensions + 1, waiting_since=now)


def paused(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that keeps the weights, and in which no evidence leads to a decision."""
    if not state.is_in_progress or state.is_paused:
        raise ValueError(f"a rollout that is {state.status_text} cannot be paused")
    return _changed(state, now, by, reason, paused_at=now)


def resumed(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state in which the evidence decides again. The time of the pause does not count toward the step."""
    if not state.is_in_progress or state.paused_at is None:
        raise ValueError(f"a rollout that is {state.status_text} cannot be resumed")
    pause = now - state.paused_at
    return _changed(
        state,
        now,
        by,
        reason,
        paused_at=None,
        step_started_at=state.step_started_at + pause,
        waiting_since=state.waiting_since + pause,
    )


def approved(state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state of a step that a person approved. A candidate that is worse is still rolled back."""
    return _changed(state, now, by, reason, status="running", approved=True)


def promoted(plan: RolloutPlan, state: RolloutState, version: int, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that sends all traffic to a candidate."""
    return _over(plan, state, "promoted", version, now, by, reason)


def rolled_back(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that sends all traffic to the champion because the candidate is worse."""
    return _over(plan, state, "rolled_back", plan.champion, now, by, reason)


def ended(plan: RolloutPlan, state: RolloutState, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that sends all traffic to the champion without a verdict against the candidate."""
    return _over(plan, state, "ended", plan.champion, now, by, reason)


def superseded(state: RolloutState, version: int | None, now: datetime, by: str, reason: str) -> RolloutState:
    """Return the state that ends a rollout because someone else has changed the champion.

    Parameters
    ----------
    version
        The current champion; None if there is none.
    """
    return _changed(state, now, by, reason, status="ended", version=version)


def settled(state: RolloutState, now: datetime, by: TaskIdentity) -> RolloutState:
    """Return the state after the task has brought the audit trail and the champion alias up to date."""
    return _changed(state, now, by.key, state.reason, settled=True, settled_in_try=by.try_number)


def settled_by_person(state: RolloutState, now: datetime, by: str) -> RolloutState:
    """Return the state after a person has done so. The task has not noticed it yet, and still reports the outcome."""
    return _changed(state, now, by, state.reason, settled=True)


def _over(
    plan: RolloutPlan, state: RolloutState, status: Status, version: int, now: datetime, by: str, reason: str
) -> RolloutState:
    if not state.is_in_progress:
        raise ValueError(f"the rollout is already over: {state.status}")
    return _changed(state, now, by, reason, status=status, weights=all_weight_to(plan, version), version=version)


def _changed(state: RolloutState, now: datetime, by: str, reason: str, **fields: object) -> RolloutState:
    changed = {**state.model_dump(), "changed_at": now, "changed_by": by, "reason": reason, **fields}
    return RolloutState.model_validate(changed)
