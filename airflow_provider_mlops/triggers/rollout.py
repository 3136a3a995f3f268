"""Triggers that wait until a rollout needs a change, or until another rollout is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Unpack

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async
from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.hooks.workspace import open_workspace
from airflow_provider_mlops.triggers.cancellation import why_canceled
from airflow_provider_mlops.triggers.events import HitlUser, RolloutEvent
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger


class _DelayedTrigger(WaitingTrigger[RolloutEvent]):
    """Waits for one interval before the first check, because the task has just checked.

    If a trigger fires before the scheduler has noticed that the task is deferred, Airflow may mark the task as failed.
    """

    @override
    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(self.poke_interval)
        async for event in super().run():
            yield event
            # A trigger that goes on would be canceled, as if a user had canceled the task.
            return

    @override
    def advance(self, event: RolloutEvent) -> None:
        """Do nothing: the task resumes after the first event."""


class RolloutTrigger(_DelayedTrigger):
    """Fires when the evidence calls for a change, a user has answered, or the rollout is over.

    It decides nothing itself: the task does when it resumes. Each check counts as the task's, so that the gateways know
    that the rollout is attended. If a user cancels the task while it is deferred, the trigger does what the rollout's
    `on_cancel` says. All that the trigger knows are ids, so it survives a restart of the triggerer. The state of the
    rollout is in the rollout store.

    :param rollout_id: id of the rollout.
    :param question: id of the task instance whose question a user may answer; None if nothing was asked.
    :param mlflow_conn_id: id of a connection of type `mlflow`.
    :param gateway_conn_id: id of a connection of type `mlops_gateway`.
    """

    def __init__(
        self,
        *,
        rollout_id: str,
        question: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.rollout_id = rollout_id
        self.question = question
        self.mlflow_conn_id = mlflow_conn_id
        self.gateway_conn_id = gateway_conn_id
        self._decides_at: datetime | None = None

    @override
    def waiting_for(self) -> str:
        answer = "" if self.question is None else " or a user's answer"
        return f"evidence{answer} on rollout {self.rollout_id}"

    @override
    def seconds_to_next_check(self) -> float:
        """Return the interval, or less if `on_inconclusive` decides before."""
        if self._decides_at is None:
            return self.poke_interval
        left = (self._decides_at - datetime.now(UTC)).total_seconds()
        return min(self.poke_interval, left) if left > 0 else self.poke_interval

    async def on_kill(self) -> None:
        """Cancel the rollout if a user has canceled the task. Airflow calls this also when a task is cleared."""
        await sync_to_async(self._cancel, thread_sensitive=False)()

    def _cancel(self) -> None:
        with contextlib.closing(rollout_store()) as store:
            task = store.get(self.rollout_id).started_by
        why = why_canceled(task)
        if why is None:
            self.log.info("The task goes on, and will rejoin rollout %s", self.rollout_id)
            return
        from airflow_provider_mlops.lifecycle.rollout.cancel import cancel

        cancel(open_workspace(task, self.mlflow_conn_id, self.gateway_conn_id), self.rollout_id, why)

    @override
    def observe(self) -> Observation[RolloutEvent]:
        from airflow_provider_mlops.lifecycle.rollout.decision import decides_at
        from airflow_provider_mlops.lifecycle.rollout.live_report import write_report
        from airflow_provider_mlops.lifecycle.rollout.look import champion_move, decision_now
        from airflow_provider_mlops.serving.rollouts.attendance import attend

        with contextlib.closing(rollout_store()) as store:
            try:
                rollout = store.get(self.rollout_id)
            except InvalidSpecError as error:
                return _resume(str(error))
            if not rollout.state.is_in_progress:
                return _resume(f"the rollout is {rollout.state.status_text}: {rollout.state.reason}")
            attend(store, rollout, rollout.started_by.key)
            self._decides_at = decides_at(rollout.plan, rollout.state)
            # While a person has paused the rollout, an answer waits with it.
            answer = None if rollout.state.is_paused else self._read_answer()
            if answer is not None:
                return Observation(answer["why"], answer)
            decision = decision_now(store, rollout)
            if decision.action == "wait":
                write_report(storage_uri(), store, rollout)
        if decision.action != "wait":
            # The task logs the decision with its reason.
            return _resume(f"the next action is: {decision.action_text}")
        move = champion_move(MlflowHook(self.mlflow_conn_id).get_conn(), rollout)
        if move is not None:
            return _resume(move.reason)
        return Observation(f"step {rollout.state.step + 1}: {decision.reason}")

    def _read_answer(self) -> RolloutEvent | None:
        """Return a user's answer in the form in which Airflow's API gives it to a deferred task."""
        from uuid import UUID

        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

        if self.question is None:
            return None
        try:
            detail = get_hitl_detail_content_detail(ti_id=UUID(self.question))
        except AirflowRuntimeError as error:
            self.log.warning("Could not check whether the user has answered: %s", error)
            return None
        if detail is None or not detail.response_received or not detail.chosen_options:
            return None
        user = detail.responded_by_user
        return RolloutEvent(
            why="a user has answered",
            chosen_options=list(detail.chosen_options),
            responded_by_user=None if user is None else HitlUser(id=user.id, name=user.name),
        )


class NoRolloutTrigger(_DelayedTrigger):
    """Fires when no rollout of a model is in progress.

    :param model_name: name of the registered model.
    """

    def __init__(self, *, model_name: str, **waiting: Unpack[WaitingArguments]) -> None:
        super().__init__(**waiting)
        self.model_name = model_name

    @override
    def waiting_for(self) -> str:
        return f"the current rollout of {self.model_name} to finish"

    @override
    def observe(self) -> Observation[RolloutEvent]:
        with contextlib.closing(rollout_store()) as store:
            rollout = store.current(self.model_name)
        if rollout is None:
            return _resume(f"no rollout of {self.model_name} is in progress")
        return Observation(f"rollout {rollout.id} is {rollout.state.status_text} at step {rollout.state.step + 1}")


def _resume(why: str) -> Observation[RolloutEvent]:
    return Observation(why, RolloutEvent(why=why))
