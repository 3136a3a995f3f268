"""What is counted for a rollout in tests: records as a gateway writes them, ingested as a gateway does."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.prediction_log import log_predictions


class Traffic:
    """Answers and failures of the arms of rollouts, without the requests."""

    def __init__(self, directory: Path, store: RolloutStore) -> None:
        self._log = WriteAhead(str(directory / "evidence"))
        self._store = store
        self._ingestion = Ingestion(store, self._log.root, self._log)

    def add(self, rollout: Rollout, *, errors: int = 0, requests: int = 300, rewarded: str | None = None) -> None:
        """As many requests for each arm in its present step; of the candidates' some fail.

        :param rewarded: the arm of which nine of ten answers earn 1, and one of ten of the others; None for no rewards.
        """
        place = answer_context(rollout.id, rollout.state.step)
        for arm in rollout.plan.arms:
            fails = 0 if arm.name == "champion" else errors
            schema = LogSchema(rollout.model, arm.version, (("age", "double"),), "string")
            for number in range(requests):
                name = prediction_id.new()
                if number < fails:
                    self._log.failure(
                        name,
                        model=rollout.model,
                        version=arm.version,
                        arm=arm.name,
                        latency_ms=2.0,
                        error="ValueError",
                        rollout_context=place,
                    )
                    continue
                log_predictions(
                    self._log,
                    schema,
                    name,
                    arm=arm.name,
                    propensity=1 / len(rollout.plan.arms),
                    features=[[40.0]],
                    output=["yes"],
                    latency_ms=2.0,
                    rollout_context=place,
                )
                if rewarded is not None:
                    # One of ten is an exception, because rewards without any spread decide nothing.
                    self._log.feedback([(name, None, float((arm.name == rewarded) != (number % 10 == 0)))])
        self._ingestion.run()
