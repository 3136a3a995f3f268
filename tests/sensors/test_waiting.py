"""Every sensor says what it waits for and what it sees: at each check, and again when it times out."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider_mlops.sensors import (
    EndpointHealthySensor,
    EndpointReadySensor,
    EnoughFeedbackSensor,
    ModelVersionSensor,
    NewDataSensor,
    RolloutFinishedSensor,
)
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.waiting import WaitingTrigger
from tests.helpers.airflow.session import roundtrip

Make = Callable[..., WaitingSensor[Any]]

SENSORS: dict[str, tuple[Make, dict[str, Any], str, str]] = {
    "new_files": (NewDataSensor, {"paths": "/nowhere/*.csv"}, "files at /nowhere/*.csv", "none"),
    "new_dataset": (NewDataSensor, {"dataset_uri": "/nowhere/d"}, "the dataset /nowhere/d", "it does not exist"),
    "model_version": (
        *(ModelVersionSensor, {"model_name": "churn", "alias": "champion"}),
        *("a version of churn with the alias 'champion'", "there is none"),
    ),
    "endpoint_ready": (
        *(EndpointReadySensor, {"model_name": "unknown", "version": 2}),
        *("the gateway to serve version 2 of unknown", "no version of it is active"),
    ),
    "endpoint_healthy": (
        *(EndpointHealthySensor, {"model_name": "unknown", "max_latency_ms": 50}),
        *("unknown to be healthy in 3 consecutive checks", "no version of it is active"),
    ),
    "rollout_finished": (
        *(RolloutFinishedSensor, {"model_name": "churn", "wait_for_start": True}),
        *("the newest rollout of churn to finish", "no rollout has started"),
    ),
    "enough_labels": (
        EnoughFeedbackSensor,
        {"model_name": "churn", "min_labels": 500},
        "500 labels of churn",
        "0 so far",
    ),
    "enough_rewards": (
        *(EnoughFeedbackSensor, {"model_name": "churn", "min_labels": 5, "min_rewards": 3, "version": 2}),
        *("5 labels and 3 rewards of churn version 2", "0 labels and 0 rewards so far"),
    ),
}
CONTEXT: Any = {"ti": SimpleNamespace(get_first_reschedule_date=lambda context: datetime(2026, 1, 1, tzinfo=UTC))}


@pytest.fixture(params=SENSORS)
def case(request: pytest.FixtureRequest, storage: Path, mlflow_database: Path) -> tuple[Make, str, str]:
    make, fields, waiting_for, seen = SENSORS[request.param]
    if "endpoint" in request.param:
        request.getfixturevalue("connection")
    if make is ModelVersionSensor:
        shutil.copy(mlflow_database, storage / "mlflow.db")
    return lambda **options: make(task_id="wait", **fields, timeout=0, **options), waiting_for, seen


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The level and the text of what triggers log. Airflow's own configuration of structlog hides it from caplog."""
    entries: list[tuple[str, str]] = []
    logger = SimpleNamespace(
        info=lambda text, *args: entries.append(("info", text % args)),
        warning=lambda text, *args: entries.append(("warning", text % args)),
    )
    monkeypatch.setattr(WaitingTrigger, "log", logger)
    return entries


def check_message(message: str, waiting_for: str, seen: str) -> None:
    assert "Sensor has timed out" in message
    assert f"waiting for {waiting_for}" in message
    assert f"last saw: {seen}" in message


def test_each_check_is_logged(case: tuple[Make, str, str], log: list[tuple[str, str]]) -> None:
    make, waiting_for, seen = case
    assert make(deferrable=False).poke(CONTEXT) is False
    ((level, line),) = log
    assert level == "info"
    assert line.startswith(f"Waiting for {waiting_for}")
    assert seen in line


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_timeout_says_it_again(case: tuple[Make, str, str], mode: str) -> None:
    make, waiting_for, seen = case
    if mode == "reschedule" and "healthy" in waiting_for:
        pytest.skip("this sensor keeps state between checks")
    with pytest.raises(AirflowSensorTimeout) as caught:
        make(deferrable=False, mode=mode).execute(CONTEXT)
    check_message(str(caught.value), waiting_for, seen)
    with pytest.raises(AirflowSkipException) as skipped:
        make(deferrable=False, mode=mode, soft_fail=True).execute(CONTEXT)
    check_message(str(skipped.value), waiting_for, seen)


def test_a_timeout_in_the_triggerer_says_it_again(case: tuple[Make, str, str]) -> None:
    make, waiting_for, seen = case
    with pytest.raises(TaskDeferred) as deferred:
        make(deferrable=True).execute(CONTEXT)
    assert deferred.value.timeout > timedelta(0), "the trigger reports before Airflow gives up"

    async def fire() -> Any:
        return (await asyncio.wait_for(anext(roundtrip(deferred.value.trigger).run()), 60)).payload

    event = asyncio.run(fire())
    with pytest.raises(AirflowSensorTimeout) as caught:
        make(deferrable=True).resume_execution("resume", {"event": event}, CONTEXT)
    check_message(str(caught.value), waiting_for, seen)
    with pytest.raises(AirflowSkipException):
        make(deferrable=True, soft_fail=True).resume_execution("resume", {"event": event}, CONTEXT)


def test_a_triggerer_that_does_not_report_is_named() -> None:
    sensor = NewDataSensor(task_id="wait", paths="/nowhere/*.csv", deferrable=True)
    with pytest.raises(AirflowSensorTimeout, match=r"waiting for files at /nowhere/\*.csv.*Check the triggerer"):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, CONTEXT)


def test_an_unavailable_backend_is_logged_and_remembered(
    monkeypatch: pytest.MonkeyPatch, log: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", '{"conn_type": "mlops_gateway", "host": "http://127.0.0.1:1"}'
    )
    sensor = EndpointReadySensor(task_id="wait", model_name="churn", timeout=0, poke_interval=30)
    with pytest.raises(AirflowSensorTimeout, match=r"last saw: The gateway at .* is unavailable"):
        sensor.execute(CONTEXT)
    ((level, line),) = log
    assert level == "warning"
    assert line.startswith("Waiting for the gateway to serve any version of churn: ")
    assert line.endswith("Checking again in 30 s.")
    assert "Airflow will retry" not in line
