"""A real gateway in its own process, over the storage of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx

from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.client.credentials import KEY_VARIABLE, ClientTls
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.gateway.workers import listening

_START_SECONDS = 240.0
"""A start takes some seconds, but minutes on a machine that is busy with other tests."""


def children(process: int) -> list[int]:
    """The processes that a process has started, as far as they live."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return []
    return [child for child in map(int, text.split()) if is_alive(child)]


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class LiveGateway:
    """`airflow-mlops serve` on a free port.

    In a `with` block it is ready at the beginning and killed at the end. `launch` starts one that may not be ready yet.
    After `kill`, `start` starts it again on the same port.
    """

    def __init__(self, storage: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.storage = storage
        self.log = storage / "gateway.log"
        self.port = 0
        self.tls = ClientTls()
        self.key: str | None = None
        self._options = options
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def launch(cls, storage: Path, *options: str, environment: dict[str, str] | None = None) -> Self:
        """Start a gateway and wait until it listens."""
        gateway = cls(storage, *options, environment=environment)
        gateway.start()
        return gateway

    def __enter__(self) -> Self:
        self.start()
        return self.wait_until_ready()

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        self.log = self.storage / f"gateway-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(self.storage)]
        command += ["--port", str(self.port), "--poll-seconds", "0.2", *self._options]
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "AIRFLOW"))
        }
        with self.log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, env={**inherited, **self._environment})
        try:
            self.wait(lambda: listening.find_url(self.log.read_text()), "it listens", _START_SECONDS)
        except BaseException:
            self.kill()
            raise
        url = listening.find_url(self.log.read_text())
        assert url is not None
        self.port = int(url.rpartition(":")[2])

    def wait_until_ready(self) -> Self:
        """Wait until the models are loaded."""
        with self.client() as client:
            self.wait(client.ready, "it is ready", _START_SECONDS)
        return self

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if '--tls-certificate' in self._options else 'http'}://127.0.0.1:{self.port}"

    @property
    def grpc_address(self) -> str:
        """Its address for gRPC; the option --grpc-port must be given."""
        address = listening.find_grpc_address(self.log.read_text())
        assert address is not None
        return address

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, which must be running."""
        assert self._process is not None
        return self._process

    def client(self, given_key: str | None = None) -> GatewayClient:
        """A client with a key: one that is given, the one in the gateway's environment, or the gateway's local key."""
        key = given_key or self.key or self._environment.get(KEY_VARIABLE) or local_key.find(str(self.storage))
        return GatewayClient(self.url, key, tls=self.tls)

    def workers(self) -> list[int]:
        """The process ids of the workers and trials."""
        return children(self.process.pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes, the supervisor first."""
        for process in (self.process.pid, *self.workers()):
            os.kill(process, number)

    def kill(self) -> None:
        """End it with SIGKILL, at once; do nothing if it has ended."""
        if self._process is not None:
            own = children(self._process.pid)
            self._process.kill()
            self._process.wait(10)
            self._process = None
            # The kernel kills them with the supervisor, which takes a moment.
            until = time.monotonic() + 120
            while any(is_alive(process) for process in own):
                assert time.monotonic() < until, "a worker has outlived its supervisor"
                time.sleep(0.01)

    def stop(self) -> int:
        """End it with SIGTERM. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def serves(self, workspace: Workspace) -> Workspace:
        """The workspace with this gateway as its own."""
        return workspace.model_copy(update={"gateway_url": self.url})

    def wait(self, condition: Callable[[], object], what: str = "the condition holds", seconds: float = 60.0) -> None:
        """Wait until a condition holds, while the gateway runs."""
        until = time.monotonic() + seconds
        while not condition():
            has_ended = self._process is not None and self._process.poll() is not None
            if has_ended or time.monotonic() > until:
                raise AssertionError(f"not true within {seconds} s: {what}\n{self.log.read_text()[-5000:]}")
            time.sleep(0.05)


def post(url: str, content: object, **options: object) -> httpx.Response:
    """Send one request on a new connection."""
    return httpx.post(url, json=content, timeout=30, **options)  # type: ignore[arg-type]
