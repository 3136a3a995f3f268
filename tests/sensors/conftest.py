"""A gateway for the sensors that ask one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.gateway.access import local_key
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import train


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[LiveGateway]:
    """A gateway over a storage with one model of two versions, of which none answers yet."""
    directory = tmp_path_factory.mktemp("served")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    task = TaskIdentity(dag_id="churn", run_id="r", task_id="train")
    workspace = Workspace(storage_uri=str(directory), task=task)
    for number in (1, 2):
        assert train(workspace, run_id=f"r{number}").version == number
    with LiveGateway(directory) as gateway:
        yield gateway


@pytest.fixture
def connection(served: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default connection leads to that gateway."""
    secret = local_key.find(str(served.storage))
    document = {"conn_type": "mlops_gateway", "host": served.url, "password": secret}
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
