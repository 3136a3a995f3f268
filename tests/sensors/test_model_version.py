from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor
from airflow_provider_mlops.triggers.model_version import ModelVersionTrigger
from tests.helpers.airflow.session import roundtrip


@pytest.fixture
def client(storage: Path, mlflow_database: Path) -> Any:
    """The embedded MLflow's client."""
    shutil.copy(mlflow_database, storage / "mlflow.db")
    return MlflowHook().get_conn().client


def add_version(client: Any, name: str = "churn") -> int:
    if not client.search_registered_models(filter_string=f"name='{name}'"):
        client.create_registered_model(name)
    run = client.create_run("0")
    return int(client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id=run.info.run_id).version)


def test_versions(client):
    assert ModelVersionTrigger(model_name="churn").check() is None
    add_version(client)
    number = add_version(client)
    found = ModelVersionTrigger(model_name="churn").check()
    assert (found["name"], found["version"]) == ("churn", number)
    assert len(found["run_id"]) == 32
    assert ModelVersionTrigger(model_name="churn", newer_than=number).check() is None
    assert ModelVersionTrigger(model_name="churn", newer_than=number - 1).check() == found


def test_the_newest_of_many_versions_is_found(client):
    for _ in range(11):
        add_version(client)
    assert ModelVersionTrigger(model_name="churn", newer_than=10).check()["version"] == 11


def test_aliases(client):
    trigger = ModelVersionTrigger(model_name="churn", alias="champion")
    assert trigger.check() is None
    number = add_version(client)
    assert trigger.check() is None
    client.set_registered_model_alias("churn", "champion", str(number))
    assert trigger.check()["version"] == number
    assert ModelVersionTrigger(model_name="churn", alias="champion", newer_than=number).check() is None


def test_the_trigger_holds_the_connection_s_id_and_no_secret(monkeypatch, storage):
    monkeypatch.setenv("AIRFLOW_CONN_SECURED", '{"conn_type": "mlflow", "host": "http://x", "password": "hush"}')
    trigger = ModelVersionTrigger(model_name="churn", alias="champion", newer_than=3, mlflow_conn_id="secured")
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_mlops.triggers.model_version.ModelVersionTrigger"
    assert arguments == {
        "model_name": "churn",
        "alias": "champion",
        "newer_than": 3,
        "mlflow_conn_id": "secured",
        "poke_interval": 60.0,
    }
    assert roundtrip(trigger).serialize() == (path, arguments)


def test_a_server_that_is_away_is_waited_for(monkeypatch, storage, mlflow_server):
    """The connection leads nowhere at first, and to the real server later."""

    def connect(host: str) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": host}))

    connect(mlflow_server)
    number = add_version(MlflowHook().get_conn().client, "late")
    connect("http://127.0.0.1:1")
    with pytest.raises(BackendUnavailableError):
        ModelVersionTrigger(model_name="late").check()

    async def scenario() -> Any:
        events = ModelVersionTrigger(model_name="late", poke_interval=0.1).run()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        connect(mlflow_server)
        return await asyncio.wait_for(waiting, 20)

    assert asyncio.run(scenario()).payload["version"] == number


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_returns_a_model_version(run_dag, client, deferrable):
    number = add_version(client)
    with DAG(dag_id=f"model_version_{deferrable}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        ModelVersionSensor(task_id="wait", model_name="churn", newer_than="{{ 0 }}", deferrable=deferrable)
    ran = run_dag(dag)
    assert ran.xcoms("wait")["return_value"]["version"] == number
