"""Fixtures that every room's tests share. MLflow is the real one, in an SQLite database of the test's own."""

from __future__ import annotations

import base64
import http.client
import http.server
import os
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MPLBACKEND", "agg")

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No two tests may have one id: xdist would run one of them, and say nothing of the other."""
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"{len(twice)} ids stand for several tests each, such as {twice[0]}")


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: creating one takes seconds, copying it does not."""
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.settings import RegistrySettings

    directory = tmp_path_factory.mktemp("mlflow-template")
    assert Registry(RegistrySettings(str(directory))).client is not None
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


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens at."""
    return _port()


class _PasswordProxy(http.server.BaseHTTPRequestHandler):
    """Lets requests with the right user and password through to a server behind it, as teams put one before MLflow."""

    protocol_version = "HTTP/1.1"
    backend: int
    allowed = "Basic " + base64.b64encode(b"admin:password1234").decode()

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != self.allowed:
            status, headers, content = 401, [("WWW-Authenticate", "Basic")], b"You are not authenticated."
        else:
            backend = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name not in ("Authorization", "Host")}
            backend.request(self.command, self.path, body, kept)
            response = backend.getresponse()
            status, headers, content = response.status, response.getheaders(), response.read()
            backend.close()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def guarded_mlflow_server(mlflow_server: str) -> Iterator[str]:
    """The address of a real MLflow server behind a proxy that asks for the user admin and the password password1234."""
    handler = type("Proxy", (_PasswordProxy,), {"backend": int(mlflow_server.rpartition(":")[2])})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
