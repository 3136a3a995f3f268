"""Sensor that waits until enough predictions of a model have labels or rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import Number, Text, Time, require_text, to_int, to_iso_time, to_text
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.enough_feedback import EnoughFeedbackTrigger
from airflow_provider_mlops.triggers.events import FeedbackEvent


class EnoughFeedbackSensor(WaitingSensor[FeedbackEvent]):
    """Waits until enough predictions in the prediction log have labels, rewards, or both.

    Returns `{"model_name", "predictions", "labels", "rewards"}`. Predictions that the gateway has not yet compacted
    to Parquet are counted only if the storage is a local directory that this process shares with the gateway.

    :param model_name: Name of the model.
    :param min_labels: Number of predictions that must have a label.
    :param min_rewards: Number of predictions that must have a reward.
    :param version: Count only predictions of this version. By default, all versions.
    :param rollout: Id of a rollout; count only predictions that were part of it, without those of its cohort. By
        default, all predictions.
    :param since: Count only predictions that were made at this time or later, such as
        `"{{ data_interval_start }}"`: a datetime or ISO 8601. By default, all predictions.
    :param deferrable: Wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    template_fields: Sequence[str] = ("model_name", "min_labels", "min_rewards", "version", "rollout", "since")
    ui_color = "#fbe3e4"

    def __init__(
        self,
        *,
        model_name: Text,
        min_labels: Number | None = None,
        min_rewards: Number | None = None,
        version: Number | None = None,
        rollout: Text | None = None,
        since: Time | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if min_labels is None and min_rewards is None:
            raise InvalidSpecError("min_labels", None, "min_labels or min_rewards is required")
        self.model_name = model_name
        self.min_labels = min_labels
        self.min_rewards = min_rewards
        self.version = version
        self.rollout = rollout
        self.since = since

    @override
    def trigger(self) -> EnoughFeedbackTrigger:
        return EnoughFeedbackTrigger(
            model_name=require_text("model_name", self.model_name),
            min_labels=to_int("min_labels", self.min_labels) or 0,
            min_rewards=to_int("min_rewards", self.min_rewards) or 0,
            version=to_int("version", self.version, "it must be the number of a model version"),
            rollout=to_text(self.rollout),
            since=to_iso_time(self.since),
            poke_interval=self.poke_interval,
        )
