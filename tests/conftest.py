"""Fixtures that every room's tests share. MLflow is the real one, in an SQLite database of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
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


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def mlflow_server(tmp_path: Path, free_port: int) -> Iterator[Callable[..., str]]:
    """Starts a real MLflow server with basic authentication (admin, password1234) and returns its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        directory = tmp_path / "mlflow-server"
        directory.mkdir()
        settings = directory / "auth.ini"
        settings.write_text(
            "[mlflow]\ndefault_permission = READ\n"
            f"database_uri = sqlite:///{directory}/auth.db\nadmin_username = admin\nadmin_password = password1234\n"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for a test",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(free_port)]
        command += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
        command += ["--artifacts-destination", str(directory / "artifacts")]
        log = (directory / "server.log").open("wb")
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=log, stderr=log, start_new_session=True
        )
        started.append(process)
        address = f"http://127.0.0.1:{free_port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    return address
            except OSError:
                assert process.poll() is None, (directory / "server.log").read_text()
                assert time.monotonic() < deadline, (directory / "server.log").read_text()
                time.sleep(0.2)

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
