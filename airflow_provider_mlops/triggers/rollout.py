"""Waits until there is something to do to a rollout, or until another one is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class _LaterTrigger(WaitingTrigger):
    """Looks after an interval first: the task has looked already.

    A trigger that fires before the scheduler has noticed that the task deferred lets Airflow take the task for lost.
    """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then look as every trigger of this package."""
        await asyncio.sleep(self.poke_interval)
        async for event in super().run():
            yield event

    def advance(self, found: dict[str, Any]) -> None:
        """There is nothing after it: the task resumes."""


class RolloutTrigger(_LaterTrigger):
    """Fires when the evidence asks for a change, a human has answered, or the rollout is over, as by a gateway.

    It changes nothing itself: the task does, when it resumes. All it knows are ids, so it survives a restart of the
    triggerer; where the rollout stands is in the rollout store.

    :param rollout_id: the rollout.
    :param question: the id of the task instance whose question a human may answer; None if nothing was asked.
    :param mlflow_conn_id: the connection of type `mlflow`.
    """

    def __init__(
        self,
        *,
        rollout_id: str,
        question: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.rollout_id = rollout_id
        self.question = question
        self.mlflow_conn_id = mlflow_conn_id

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "rollout_id": self.rollout_id,
            "question": self.question,
            "mlflow_conn_id": self.mlflow_conn_id,
        }

    def look(self) -> dict[str, Any] | None:
        """Why the task should resume, and a human's answer if there is one. Raises BackendUnavailableError."""
        from airflow_provider_mlops.lifecycle.rollout.look import decision_now, moved_champion

        with contextlib.closing(rollout_store()) as store:
            try:
                rollout = store.get(self.rollout_id)
            except InvalidSpecError as error:
                return {"why": str(error)}
            if not rollout.state.is_in_progress:
                return {"why": f"the rollout is {rollout.state.status}: {rollout.state.reason}"}
            answer = self._answer() if self.question is not None else None
            if answer is not None:
                return {"why": "a human has answered", **answer}
            decision = decision_now(store, rollout)
        if decision.action != "wait":
            return {"why": f"{decision.action.replace('_', ' ')}: {decision.reason}"}
        self.log.info("Rollout %s, step %d: %s", rollout.id, rollout.state.step + 1, decision.reason)
        moved, version = moved_champion(MlflowHook(self.mlflow_conn_id).get_conn(), rollout)
        return {"why": f"the champion is {version} by now"} if moved else None

    def _answer(self) -> dict[str, Any] | None:
        """What a human has answered, in the form in which Airflow's API hands it to a deferred task."""
        from uuid import UUID

        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

        try:
            detail = get_hitl_detail_content_detail(ti_id=UUID(self.question))
        except AirflowRuntimeError as error:
            self.log.warning("Whether the question was answered cannot be told now: %s", error)
            return None
        if detail is None or not detail.response_received or not detail.chosen_options:
            return None
        user = detail.responded_by_user
        return {
            "chosen_options": list(detail.chosen_options),
            "responded_by_user": None if user is None else {"id": user.id, "name": user.name},
        }


class NoRolloutTrigger(_LaterTrigger):
    """Fires when no rollout of a model is under way.

    :param model_name: the registered model's name.
    """

    def __init__(self, *, model_name: str, poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {"model_name": self.model_name}

    def look(self) -> dict[str, Any] | None:
        """Why the task should resume. Raises BackendUnavailableError."""
        with contextlib.closing(rollout_store()) as store:
            other = store.current(self.model_name)
        if other is None:
            return {"why": f"no rollout of {self.model_name} is under way"}
        self.log.info("Rollout %s of %s is %s at step %d", other.id, other.model, other.state.status, other.state.step)
        return None
