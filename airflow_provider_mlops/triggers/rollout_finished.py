"""Trigger that waits until a rollout is over."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Unpack

from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.triggers.events import RolloutFinishedEvent
from airflow_provider_mlops.triggers.times import parse_time
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.rollout import Rollout
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore


class RolloutFinishedTrigger(WaitingTrigger[RolloutFinishedEvent]):
    """Fires when a rollout is over and the champion alias has moved accordingly.

    :param model_name: name of the model whose rollout to wait for.
    :param rollout: id of the rollout. None for the newest rollout of the model or, with `since`, for the first one
        that started then or later. Once the trigger has seen a rollout, it waits for that one.
    :param since: ISO 8601 time; only rollouts that started at this time or later count.
    :param wait_for_start: whether to wait if there is no rollout yet.
    """

    def __init__(
        self,
        *,
        model_name: str | None = None,
        rollout: str | None = None,
        since: str | None = None,
        wait_for_start: bool = False,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.model_name = model_name
        self.rollout = rollout
        self.since = since
        self.wait_for_start = wait_for_start
        self._started_at: datetime | None = None

    @override
    def waiting_for(self) -> str:
        model = "" if self.model_name is None else f" of {self.model_name}"
        if self.rollout is not None:
            return f"rollout {self.rollout}{model} to finish"
        since = "" if self.since is None else f" since {self.since}"
        return f"the {'newest' if self.since is None else 'first'} rollout{model}{since} to finish"

    @override
    def observe(self) -> Observation[RolloutFinishedEvent]:
        with contextlib.closing(rollout_store()) as store:
            rollout = self._find(store)
        if rollout is None:
            return Observation("no rollout has started")
        self.rollout, self._started_at = rollout.id, rollout.state.started_at
        state = rollout.state
        if state.is_in_progress:
            return Observation(f"it is {state.status_text} at step {state.step + 1} of {rollout.plan.step_count}")
        if state.blocks_new_rollout:
            return Observation(f"it is {state.status_text}, but the champion alias has not moved yet")
        event = RolloutFinishedEvent(
            rollout=rollout.id,
            model_name=rollout.model,
            status=state.status,
            version=state.version,
            reason=state.reason,
        )
        return Observation(f"it is {state.status_text}: {state.reason}", event)

    @override
    def advance(self, event: RolloutFinishedEvent) -> None:
        self.model_name, self.rollout, self.wait_for_start = event["model_name"], None, True
        if self._started_at is not None:
            self.since = (self._started_at + timedelta(microseconds=1)).isoformat()

    def _find(self, store: RolloutStore) -> Rollout | None:
        if self.rollout is not None:
            rollout = store.get(self.rollout)
            if self.model_name not in (None, rollout.model):
                raise InvalidSpecError(
                    "rollout",
                    rollout.id,
                    f"it is a rollout of the model {rollout.model!r}, not of {self.model_name!r}. Correct the id, or "
                    "the model_name",
                )
            return rollout
        if self.model_name is None:
            raise InvalidSpecError("model_name", None, "either model_name or rollout is required")
        since = parse_time("since", self.since)
        newest_first = store.of_model(self.model_name)
        if since is not None:
            newest_first = [rollout for rollout in newest_first if rollout.state.started_at >= since][-1:]
        if newest_first:
            return newest_first[0]
        if self.wait_for_start:
            return None
        started = "" if since is None else f" that started at {since.isoformat()} or later"
        raise InvalidSpecError(
            "model_name",
            self.model_name,
            f"the model must have a rollout{started} in {store.engine.address}. Start one first, or set "
            "wait_for_start=True",
        )
