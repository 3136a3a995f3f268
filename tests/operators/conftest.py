"""One real gateway for the tests of rollouts, with a trained model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import train


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
