"""Whole journeys through a real scheduler, a real MLflow server and a real gateway, over HTTP."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from airflow import __version__ as airflow_version
from mlflow import MlflowClient
from packaging.version import Version

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.serving.traffic.replay import Replay
from airflow_provider_mlops.serving.traffic.traffic import Traffic
from demo.airflow_api import AirflowApi
from demo.stack import Stack

LEVEL_1 = "level_1_train_and_deploy"
pytestmark = pytest.mark.timeout(900)


def run(airflow: AirflowApi, dag_id: str, conf: dict | None = None) -> str:
    airflow.wait_for_dag(dag_id, 180)
    run_id = airflow.trigger(dag_id, conf)
    state = airflow.wait_for_run(dag_id, run_id, 600)
    failed = [task for task in airflow.tasks(dag_id, run_id) if task["state"] == "failed"]
    assert state == "success", "\n".join(airflow.log(dag_id, run_id, task) for task in failed)
    return run_id


@pytest.fixture(scope="module")
def level_1_run(airflow: AirflowApi) -> str:
    return run(airflow, LEVEL_1)


def test_level_1_ends_with_a_champion_that_answers(stack: Stack, airflow: AirflowApi, level_1_run: str) -> None:
    model = airflow.xcom(LEVEL_1, level_1_run, "deploy", "model")
    registered = MlflowClient(stack.mlflow_url)
    assert int(registered.get_model_version_by_alias("churn", "champion").version) == model["version"]
    row = {f"column_{n}": 1.0 for n in range(3)}
    headers = {"Authorization": f"Bearer {stack.gateway_key}"}
    assert httpx.post(f"{stack.gateway_url}/invocations", json={"dataframe_records": [row]}).status_code == 401
    refused = httpx.post(f"{stack.gateway_url}/invocations", json={"dataframe_records": [row]}, headers=headers)
    assert refused.status_code == 422
    test = Dataset.model_validate(airflow.xcom(LEVEL_1, level_1_run, "prepare", "test")).arrow()
    rows = test.drop_columns(["churned"]).slice(0, 5).to_pylist()
    answer = httpx.post(
        f"{stack.gateway_url}/models/churn/invocations", json={"dataframe_records": rows}, headers=headers
    ).raise_for_status()
    assert len(answer.json()["predictions"]) == 5


def test_level_1_monitors_what_was_replayed(airflow: AirflowApi, level_1_run: str) -> None:
    replayed = airflow.xcom(LEVEL_1, level_1_run, "replay")
    assert airflow.xcom(LEVEL_1, level_1_run, "monitor", "rows") >= replayed
    assert airflow.xcom(LEVEL_1, level_1_run, "monitor", "verdict") == "ok"


def test_every_xcom_of_a_task_fits_into_16_kb(airflow: AirflowApi, level_1_run: str) -> None:
    for task in airflow.tasks(LEVEL_1, level_1_run):
        path = f"/dags/{LEVEL_1}/dagRuns/{level_1_run}/taskInstances/{task['task_id']}/xcomEntries"
        keys = [entry["key"] for entry in airflow.get(path)["xcom_entries"]]
        size = sum(len(json.dumps(airflow.xcom(LEVEL_1, level_1_run, task["task_id"], key))) for key in keys)
        assert 0 < size <= 16 * 1024, task["task_id"]


@pytest.mark.skipif(
    Version(airflow_version) < Version("3.1.2"), reason="Airflow 3.1.0 and 3.1.1 do not retry a task that was killed"
)
def test_killed_tasks_leave_one_of_everything(stack: Stack, airflow: AirflowApi) -> None:
    run_id = run(airflow, "killed")
    tries = {task["task_id"]: task["try_number"] for task in airflow.tasks("killed", run_id)}
    assert tries["extract"] == tries["train"] == tries["deploy"] == 2, tries

    dataset = airflow.xcom("killed", run_id, "extract", "dataset")
    assert dataset["rows"] == 569
    assert Dataset.model_validate(dataset).arrow().num_rows == 569
    manifests = list((stack.storage / "datasets" / "killed").glob("*/extract/*/manifest.json"))
    assert len(manifests) == 1

    versions = MlflowClient(stack.mlflow_url).search_model_versions("name='killed'")
    assert [int(version.version) for version in versions] == [1]
    entries = sorted((stack.storage / "audit" / "killed").glob("*.json"))
    assert len(entries) == 1
    assert versions[0].run_id == airflow.xcom("killed", run_id, "train", "mlflow_run_id")


def test_a_canary_reaches_its_end_in_the_triggerer(stack: Stack, airflow: AirflowApi, level_1_run: str) -> None:
    """Version 2 is version 1 over again, so that nothing speaks against it."""
    registered = MlflowClient(stack.mlflow_url)
    first = registered.get_model_version("churn", "1")
    logged = first.source.removeprefix("models:/")
    second = registered.create_model_version("churn", first.source, first.run_id, model_id=logged)
    registered.set_registered_model_alias("churn", "challenger", second.version)
    test = Dataset.model_validate(airflow.xcom(LEVEL_1, level_1_run, "prepare", "test"))
    traffic = Traffic(test, "churn", stack.gateway_url, rate=80, seconds=300, repeat=True)
    replay = Replay(traffic, key=stack.gateway_key)
    sender = threading.Thread(target=replay.run)
    sender.start()
    try:
        run_id = run(airflow, "rollout_canary", {"model_name": "churn", "bake_time": 1})
    finally:
        replay.stop()
        sender.join(60)
    assert airflow.xcom("rollout_canary", run_id, "rollout", "status") == "promoted"
    assert registered.get_model_version_by_alias("churn", "champion").version == second.version
    assert replay.summary.answered > 200
    assert replay.summary.answered == replay.summary.requests
    assert set(replay.summary.versions) == {1, int(second.version)}
