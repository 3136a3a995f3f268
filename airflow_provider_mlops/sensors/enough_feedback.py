"""Waits until enough labels or rewards have come for a model's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import given, moment, whole
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.enough_feedback import EnoughFeedbackTrigger


class EnoughFeedbackSensor(WaitingSensor):
    """Waits until the prediction log has enough labels or rewards, or both where both are asked for.

    Returns `{"model_name", "predictions", "labels", "rewards"}`. What the gateway has not compacted to Parquet yet is
    counted where the storage is a disk that the gateway shares; elsewhere it counts once it is compacted.

    :param model_name: the model's name.
    :param min_labels: how many predictions must have a label.
    :param min_rewards: how many predictions must have a reward.
    :param version: only predictions of this version count. By default those of all.
    :param rollout: only predictions that were part of this rollout count, by its id. By default all.
    :param since: only predictions count that were made at this time or later (a datetime or ISO 8601), such as
        `"{{ data_interval_start }}"`. By default all.
    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    template_fields: Sequence[str] = ("model_name", "min_labels", "min_rewards", "version", "rollout", "since")
    ui_color = "#fbe3e4"

    def __init__(
        self,
        *,
        model_name: str,
        min_labels: int | str | None = None,
        min_rewards: int | str | None = None,
        version: int | str | None = None,
        rollout: str | None = None,
        since: str | datetime | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min_labels is None and min_rewards is None:
            raise InvalidSpecError("min_labels", None, "give min_labels or min_rewards")
        self.model_name = model_name
        self.min_labels = min_labels
        self.min_rewards = min_rewards
        self.version = version
        self.rollout = rollout
        self.since = since

    def trigger(self) -> EnoughFeedbackTrigger:
        """Counts in the prediction log. Raises InvalidSpecError if a number is none."""
        return EnoughFeedbackTrigger(
            model_name=self.model_name,
            min_labels=whole("min_labels", self.min_labels, "give a whole number") or 0,
            min_rewards=whole("min_rewards", self.min_rewards, "give a whole number") or 0,
            version=whole("version", self.version, "give the number of a version"),
            rollout=given(self.rollout),
            since=moment(self.since),
            poke_interval=self.poke_interval,
        )
