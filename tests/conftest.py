"""Fixtures that every room's tests share. MLflow is the real one, in an SQLite database of the test's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MPLBACKEND", "agg")

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: creating one takes seconds, copying it does not."""
    from airflow_provider_mlops.registry.connection import Registry

    directory = tmp_path_factory.mktemp("mlflow-template")
    assert Registry(None, storage_uri=str(directory)).client is not None
    return directory / "mlflow.db"


@pytest.fixture
def task() -> TaskIdentity:
    """A task of a DAG run."""
    return TaskIdentity(dag_id="churn", run_id="manual__2026-01-01T00:00:00+00:00", task_id="step", owner="ada")


@pytest.fixture
def workspace(tmp_path: Path, task: TaskIdentity, mlflow_database: Path) -> Workspace:
    """A workspace in the test's own directory, with the embedded MLflow."""
    directory = tmp_path / "mlops"
    directory.mkdir()
    shutil.copy(mlflow_database, directory / "mlflow.db")
    return Workspace(storage_uri=str(directory), task=task)
