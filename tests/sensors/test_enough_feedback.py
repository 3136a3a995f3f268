from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.enough_feedback import EnoughFeedbackSensor
from airflow_provider_mlops.serving.log import compaction, layout, prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.triggers.enough_feedback import EnoughFeedbackTrigger
from tests.helpers.airflow.session import roundtrip
from tests.helpers.prediction_log import log_predictions


@pytest.fixture
def log(storage: Path) -> Iterator[WriteAhead]:
    """The log as a gateway writes it."""
    log = WriteAhead(layout.write_ahead_root(str(storage)))
    yield log
    log.close()


def predict(
    log: WriteAhead, count: int, *, version: int = 1, rollout: str | None = None, arm: str = "champion"
) -> list[str]:
    """Log predictions; returns their ids."""
    names = [prediction_id.new() for _ in range(count)]
    for name in names:
        log_predictions(
            log,
            LogSchema("churn", version, (("age", "double"),), "string"),
            name,
            arm=arm,
            propensity=1.0,
            features=[[45.0]],
            output=["yes"],
            latency_ms=1.0,
            rollout_context={"rollout": rollout, "step": 0} if rollout else None,
        )
    return names


def label(log: WriteAhead, names: list[str]) -> None:
    log.feedback([(name, "no") for name in names])


def test_labels_and_rewards_are_counted_once_a_prediction(storage, log):
    labels = EnoughFeedbackTrigger(model_name="churn", min_labels=3)
    assert labels.check() is None
    names = predict(log, 5)
    label(log, names[:2])
    label(log, names[:2])
    assert labels.check() is None
    log.feedback([(names[4], None, 0.5)])
    rewards = EnoughFeedbackTrigger(model_name="churn", min_rewards=1)
    assert rewards.check() == {"model_name": "churn", "predictions": 5, "labels": 2, "rewards": 1}
    assert labels.check() is None
    log.rotate()
    compaction.compact(str(storage), log)
    label(log, names[2:3])
    assert labels.check()["labels"] == 3
    both = EnoughFeedbackTrigger(model_name="churn", min_labels=3, min_rewards=2)
    assert both.check() is None
    assert EnoughFeedbackTrigger(model_name="price", min_labels=1).check() is None


def test_of_a_version_a_rollout_and_from_a_time_on(storage, log):
    label(log, predict(log, 3))
    label(log, predict(log, 2, version=2))
    later = datetime.now(UTC)
    label(log, predict(log, 1, version=2, rollout="r1"))

    def counted(**options: Any) -> int:
        return roundtrip(EnoughFeedbackTrigger(model_name="churn", **options)).check()["labels"]

    assert [counted(version=1), counted(version=2), counted(rollout="r1")] == [3, 3, 1]
    # The cohort of a rollout is no part of what the rollout divides at random.
    label(log, predict(log, 4, version=2, rollout="r1", arm="cohort"))
    assert [counted(version=2), counted(rollout="r1")] == [7, 1]
    assert counted(since=later.isoformat()) == 5
    assert counted(since=(later + timedelta(hours=1)).isoformat()) == 0
    with pytest.raises(InvalidSpecError, match="since='yesterday'"):
        counted(since="yesterday")


def test_as_a_watcher_it_fires_when_there_are_more(storage, log):
    label(log, predict(log, 2))

    async def scenario() -> list[int]:
        events = EnoughFeedbackTrigger(model_name="churn", min_labels=2, poke_interval=0.05).run()
        first = await asyncio.wait_for(anext(events), 20)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        label(log, predict(log, 1))
        return [first.payload["labels"], (await asyncio.wait_for(waiting, 20)).payload["labels"]]

    assert asyncio.run(scenario()) == [2, 3]


def test_the_sensor_needs_a_number(run_dag: Callable[..., Any]) -> None:
    with pytest.raises(InvalidSpecError, match="min_labels"):
        EnoughFeedbackSensor(task_id="wait", model_name="churn")
    with DAG(dag_id="many", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        EnoughFeedbackSensor(task_id="wait", model_name="churn", min_labels="{{ 'many' }}", retries=2)
    ran = run_dag(built)
    assert (ran.state, ran.task("wait").try_number) == ("failed", 1)


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_waits_for_the_labels(run_dag, log, deferrable):
    names = predict(log, 4)
    label(log, names[:2])
    with DAG(dag_id=f"labels_{deferrable}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        EnoughFeedbackSensor(
            task_id="wait",
            model_name="churn",
            min_labels="{{ 2 + 1 }}",
            since="{{ macros.datetime(2026, 1, 1) }}",
            poke_interval=0.2,
            deferrable=deferrable,
        )
    timer = threading.Timer(3, label, (log, names))
    timer.start()
    ran = run_dag(built)
    timer.join()
    assert ran.state == "success"
    assert ran.xcoms("wait")["return_value"]["labels"] == 4
