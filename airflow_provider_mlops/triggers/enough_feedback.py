"""Trigger that waits until enough predictions of a model have labels or rewards."""

from __future__ import annotations

from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.extras import require
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.triggers.events import FeedbackEvent
from airflow_provider_mlops.triggers.times import parse_time
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger


class EnoughFeedbackTrigger(WaitingTrigger[FeedbackEvent]):
    """Fires when enough predictions in the prediction log have a label, and enough have a reward.

    :param model_name: name of the model.
    :param min_labels: number of predictions that must have a label.
    :param min_rewards: number of predictions that must have a reward.
    :param version: count only predictions of this version; None for all versions.
    :param rollout: id of a rollout; count only predictions that were part of it, without its cohort's. None for all
        predictions.
    :param since: ISO 8601 time; count only predictions that were made at this time or later.
    """

    def __init__(
        self,
        *,
        model_name: str,
        min_labels: int = 0,
        min_rewards: int = 0,
        version: int | None = None,
        rollout: str | None = None,
        since: str | None = None,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.model_name = model_name
        self.min_labels = min_labels
        self.min_rewards = min_rewards
        self.version = version
        self.rollout = rollout
        self.since = since
        self._last_event: FeedbackEvent | None = None

    @override
    def waiting_for(self) -> str:
        wanted = []
        if self.min_labels or not self.min_rewards:
            wanted.append(pluralize(self.min_labels, "label"))
        if self.min_rewards:
            wanted.append(pluralize(self.min_rewards, "reward"))
        model = self.model_name if self.version is None else f"{self.model_name} version {self.version}"
        within = "" if self.rollout is None else f" in rollout {self.rollout}"
        since = "" if self.since is None else f" since {self.since}"
        return f"{' and '.join(wanted)} of {model}{within}{since}"

    @override
    def observe(self) -> Observation[FeedbackEvent]:
        require("EnoughFeedbackSensor", "data")
        from airflow_provider_mlops.serving.log import prediction_log

        since = parse_time("since", self.since)
        table = prediction_log.read(storage_uri(), self.model_name, version=self.version, since=since)
        if self.rollout is not None:
            from airflow_provider_mlops.serving.policy.policy import COHORT

            table = table.filter(table.rollout == self.rollout, table.arm != COHORT)
        counts = table.aggregate(predictions=table.count(), labels=table.label.count(), rewards=table.reward.count())
        (row,) = counts.to_pyarrow().to_pylist()
        event = FeedbackEvent(
            model_name=self.model_name, predictions=row["predictions"], labels=row["labels"], rewards=row["rewards"]
        )
        is_enough = event["labels"] >= self.min_labels and event["rewards"] >= self.min_rewards
        return Observation(self._describe(event), event if is_enough and event != self._last_event else None)

    @override
    def advance(self, event: FeedbackEvent) -> None:
        self._last_event = event

    def _describe(self, event: FeedbackEvent) -> str:
        if not self.min_rewards:
            seen = f"{event['labels']:,}"
        elif not self.min_labels:
            seen = f"{event['rewards']:,}"
        else:
            seen = f"{pluralize(event['labels'], 'label')} and {pluralize(event['rewards'], 'reward')}"
        return f"{seen} so far, for {pluralize(event['predictions'], 'prediction')}"
