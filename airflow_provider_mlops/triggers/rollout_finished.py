"""Waits until a rollout is over."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.triggers import moment
from airflow_provider_mlops.triggers.waiting import WaitingTrigger

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.rollout import Rollout
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore


class RolloutFinishedTrigger(WaitingTrigger):
    """Fires when a rollout is over and the champion alias stands where it should.

    :param model_name: the model whose rollout it is.
    :param rollout: the rollout's id. None: the model's newest one, or with `since` its first one from then on. Once it
        has been seen, it is that one, whatever begins later.
    :param since: an ISO 8601 time; only rollouts count that began then or later.
    :param wait_for_start: whether to wait where there is no rollout yet.
    """

    def __init__(
        self,
        *,
        model_name: str | None = None,
        rollout: str | None = None,
        since: str | None = None,
        wait_for_start: bool = False,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name
        self.rollout = rollout
        self.since = since
        self.wait_for_start = wait_for_start

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "model_name": self.model_name,
            "rollout": self.rollout,
            "since": self.since,
            "wait_for_start": self.wait_for_start,
        }

    def look(self) -> dict[str, Any] | None:
        """`{"rollout", "model_name", "status", "version", "reason"}` once it is over.

        Raises InvalidSpecError if there is no such rollout and none is waited for, BackendUnavailableError while the store is
        away.
        """
        with contextlib.closing(rollout_store()) as store:
            rollout = self._find(store)
        if rollout is None:
            return None
        self.rollout = rollout.id
        state = rollout.state
        if state.blocks_new_rollout:
            self.log.info("Rollout %s of %s is %s at step %d", rollout.id, rollout.model, state.status, state.step)
            return None
        self._began = state.started_at
        return {
            "rollout": rollout.id,
            "model_name": rollout.model,
            "status": state.status,
            "version": state.version,
            "reason": state.reason,
        }

    def advance(self, found: dict[str, Any]) -> None:
        """Look for the model's next rollout from now on."""
        self.model_name, self.rollout, self.wait_for_start = found["model_name"], None, True
        self.since = (self._began + timedelta(microseconds=1)).isoformat()

    def _find(self, store: RolloutStore) -> Rollout | None:
        if self.rollout is not None:
            rollout = store.get(self.rollout)
            if self.model_name not in (None, rollout.model):
                raise InvalidSpecError("rollout", rollout.id, f"it is a rollout of the model {rollout.model!r}")
            return rollout
        assert self.model_name is not None
        since = moment.parse("since", self.since)
        newest_first = store.of_model(self.model_name)
        if since is not None:
            newest_first = [rollout for rollout in newest_first if rollout.state.started_at >= since][-1:]
        if newest_first:
            return newest_first[0]
        if self.wait_for_start:
            return None
        began = "" if since is None else f" that began at {since.isoformat()} or later"
        raise InvalidSpecError(
            "model_name",
            self.model_name,
            f"there is no rollout of it{began} in {store.engine.address}: begin one first, or set wait_for_start",
        )
