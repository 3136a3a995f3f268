"""Waits until a rollout is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import given, moment
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.rollout_finished import RolloutFinishedTrigger


class RolloutFinishedSensor(WaitingSensor):
    """Waits until a rollout is over: promoted, rolled back or ended. A promotion is over once the alias stands there.

    Returns `{"rollout", "model_name", "status", "version", "reason"}`: its id, its end, and the version that answers
    from then on. Where there is no such rollout, it fails at once and is not retried.

    :param model_name: the model whose rollout it is. Give this or `rollout`.
    :param rollout: the rollout's id. By default the model's newest rollout, or with `since` its first one from then on.
    :param since: only rollouts count that began at this time or later (a datetime or ISO 8601), such as
        `"{{ dag_run.start_date }}"`.
    :param wait_for_start: wait where there is no rollout yet, in place of failing.
    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    template_fields: Sequence[str] = ("model_name", "rollout", "since")
    ui_color = "#f7e8d0"

    def __init__(
        self,
        *,
        model_name: str | None = None,
        rollout: str | None = None,
        since: str | datetime | None = None,
        wait_for_start: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if model_name is None and rollout is None:
            raise InvalidSpecError("model_name", model_name, "give model_name or rollout")
        if model_name is None and (since is not None or wait_for_start):
            raise InvalidSpecError("model_name", model_name, "since and wait_for_start need it: a rollout's id exists")
        self.model_name = model_name
        self.rollout = rollout
        self.since = since
        self.wait_for_start = wait_for_start

    def trigger(self) -> RolloutFinishedTrigger:
        """Asks the rollout store. Raises InvalidSpecError if templates leave neither a model nor a rollout."""
        model_name, rollout = given(self.model_name), given(self.rollout)
        if model_name is None and rollout is None:
            raise InvalidSpecError("rollout", self.rollout, "its template gives nothing: name a rollout or model_name")
        return RolloutFinishedTrigger(
            model_name=model_name,
            rollout=rollout,
            since=moment(self.since),
            wait_for_start=self.wait_for_start,
            poke_interval=self.poke_interval,
        )
