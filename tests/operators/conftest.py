"""One real gateway for the tests of rollouts, with a trained model."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.gateway.admin import token
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.live_gateway import LiveGateway
from tests.helpers.live_model import train


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("rollouts")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    with LiveGateway(directory) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def base(live: LiveGateway) -> Workspace:
    identity = TaskIdentity(dag_id="churn", run_id="r1", task_id="deploy")
    return Workspace(storage_uri=str(live.storage), task=identity, gateway_url=live.url)


@pytest.fixture(scope="session")
def trained(base: Workspace) -> Any:
    return train(base, "trained")


@pytest.fixture
def storage(live: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = {"conn_type": "mlops_gateway", "host": live.url, "password": token.find(str(live.storage))}
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(live.storage))
    return live.storage


@pytest.fixture
def store(base: Workspace) -> Iterator[RolloutStore]:
    with contextlib.closing(base.rollout_store()) as opened:
        yield opened
