"""A real gateway for each module whose tests ask for one, and models to evaluate and to validate for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from tests.helpers.evaluation import House
    from tests.helpers.serving.live_gateway import LiveGateway
    from tests.helpers.serving.live_versions import Versions
    from tests.helpers.validation import Arena


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[LiveGateway]:
    """A gateway over a storage of its own."""
    from tests.helpers.serving.live_gateway import LiveGateway

    storage = tmp_path_factory.mktemp("deploy")
    shutil.copy(mlflow_database, storage / "mlflow.db")
    with LiveGateway(storage) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def base(gateway: LiveGateway) -> Workspace:
    """The workspace of that gateway."""
    task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="deploy", owner="ada")
    return Workspace(storage_uri=str(gateway.storage), task=task, gateway_url=gateway.url)


@pytest.fixture(scope="module")
def trained(base: Workspace) -> ModelVersion:
    """A version that is registered and nothing else."""
    from tests.helpers.serving.live_model import train

    return train(base, "trained")


@pytest.fixture
def versions(base: Workspace, trained: ModelVersion, request: pytest.FixtureRequest) -> Versions:
    """A model of the test's own."""
    from tests.helpers.serving.live_versions import Versions

    return Versions(base, trained, request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> House:
    """Models and rows, the same for the tests of all modules: each test evaluates as a task of its own."""
    from tests.helpers.evaluation import House

    directory = tmp_path_factory.mktemp("evaluate")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    return House(directory)


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Arena:
    """A champion and others, the same for the tests of all modules: each test validates as a task of its own."""
    from tests.helpers.validation import Arena

    directory = tmp_path_factory.mktemp("validate")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    return Arena(directory)


@pytest.fixture(scope="session")
def uris(arena: Arena) -> dict[str, str]:
    """The evaluation of each version."""
    grouped: dict[str, Any] = {"slices": ("region", "age"), "sensitive": ("sex", "region")}
    return {
        "alone": arena.evaluated(arena.alone, "e-alone", **grouped),
        "better": arena.evaluated(arena.better, "e-better", **grouped),
        "worse": arena.evaluated(arena.worse, "e-worse", **grouped),
        "same": arena.evaluated(arena.same, "e-same"),
        "champion": arena.evaluated(arena.champion, "e-champion"),
    }
