"""Waits until enough labels or rewards have come for a model's predictions."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.triggers import moment
from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class EnoughFeedbackTrigger(WaitingTrigger):
    """Fires when the prediction log has enough labels, and enough rewards.

    :param model_name: the model's name.
    :param min_labels: how many predictions must have a label.
    :param min_rewards: how many predictions must have a reward.
    :param version: only predictions of this version count; None: of all.
    :param rollout: only predictions that were part of this rollout count; None: all.
    :param since: an ISO 8601 time; only predictions count that were made then or later.
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
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name
        self.min_labels = min_labels
        self.min_rewards = min_rewards
        self.version = version
        self.rollout = rollout
        self.since = since
        self._more_than: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "model_name": self.model_name,
            "min_labels": self.min_labels,
            "min_rewards": self.min_rewards,
            "version": self.version,
            "rollout": self.rollout,
            "since": self.since,
        }

    def look(self) -> dict[str, Any] | None:
        """`{"model_name", "predictions", "labels", "rewards"}`, counted by the engine.

        Raises InvalidSpecError if `since` is no time.
        """
        from airflow_provider_mlops.serving.log import prediction_log

        since = moment.parse("since", self.since)
        table = prediction_log.read(storage_uri(), self.model_name, version=self.version, since=since)
        if self.rollout is not None:
            table = table.filter(table.rollout == self.rollout)
        counted = table.aggregate(predictions=table.count(), labels=table.label.count(), rewards=table.reward.count())
        (found,) = counted.to_pyarrow().to_pylist()
        self.log.info("%(predictions)d predictions, %(labels)d labels, %(rewards)d rewards", found)
        if found["labels"] < self.min_labels or found["rewards"] < self.min_rewards:
            return None
        found = {"model_name": self.model_name, **found}
        return None if found == self._more_than else found

    def advance(self, found: dict[str, Any]) -> None:
        """Look for more from now on."""
        self._more_than = found
