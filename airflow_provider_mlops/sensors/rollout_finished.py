"""Sensor that waits until a rollout is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import Text, Time, to_iso_time, to_text
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.events import RolloutFinishedEvent
from airflow_provider_mlops.triggers.rollout_finished import RolloutFinishedTrigger


class RolloutFinishedSensor(WaitingSensor[RolloutFinishedEvent]):
    """Waits until a rollout is over: promoted, rolled back or ended.

    A promotion is over once the champion alias has moved. Returns
    `{"rollout", "model_name", "status", "version", "reason"}`: the rollout's id, how it ended, and the version that
    serves predictions from then on. If there is no such rollout, the task fails at once, without a retry.

    :param model_name: Name of the model whose rollout to wait for. `model_name` or `rollout` is required.
    :param rollout: Id of the rollout. By default, the newest rollout of the model or, with `since`, the first one
        that started then or later.
    :param since: Only rollouts that started at this time or later count, such as `"{{ dag_run.start_date }}"`:
        a datetime or ISO 8601. Requires `model_name`.
    :param wait_for_start: Wait if there is no rollout yet, instead of failing. Requires `model_name`.
    :param deferrable: Wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    template_fields: Sequence[str] = ("model_name", "rollout", "since")
    ui_color = "#f7e8d0"

    def __init__(
        self,
        *,
        model_name: Text | None = None,
        rollout: Text | None = None,
        since: Time | None = None,
        wait_for_start: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if model_name is None and rollout is None:
            raise InvalidSpecError("model_name", model_name, "model_name or rollout is required")
        if model_name is None and (since is not None or wait_for_start):
            raise InvalidSpecError(
                "model_name", model_name, "since and wait_for_start can only be used with model_name"
            )
        self.model_name = model_name
        self.rollout = rollout
        self.since = since
        self.wait_for_start = wait_for_start

    @override
    def trigger(self) -> RolloutFinishedTrigger:
        model_name, rollout = to_text(self.model_name), to_text(self.rollout)
        if model_name is None and rollout is None:
            raise InvalidSpecError(
                "rollout", self.rollout, "its template gave no value. Provide the id of a rollout, or model_name"
            )
        return RolloutFinishedTrigger(
            model_name=model_name,
            rollout=rollout,
            since=to_iso_time(self.since),
            wait_for_start=self.wait_for_start,
            poke_interval=self.poke_interval,
        )
