"""A real gateway in a process of its own, over the storage of a test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.admin import token


class LiveGateway:
    """`airflow-mlops serve` on a free port, the same one after `kill` and `start`."""

    def __init__(self, storage: Path, *, poll_seconds: float = 0.3) -> None:
        self.storage = storage
        self.poll_seconds = poll_seconds
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        log = self.storage / "gateway.log"
        log.write_text("")
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(self.storage)]
        command += ["--port", str(self.port), "--poll-seconds", str(self.poll_seconds)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        self.wait(lambda: re.search(r"listens on http://[^:]+:(\d+)", log.read_text()) is not None, log)
        found = re.search(r"listens on http://[^:]+:(\d+)", log.read_text())
        assert found is not None
        self.port = int(found.group(1))
        with self.client() as client:
            self.wait(client.ready, log)

    def kill(self) -> None:
        """SIGKILL, as when the machine takes it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def client(self) -> GatewayClient:
        return GatewayClient(self.url, token.find(str(self.storage)), timeout=30)

    def serves(self, workspace: Workspace) -> Workspace:
        """The workspace with this gateway as its own."""
        return workspace.model_copy(update={"gateway_url": self.url})

    def wait(self, condition, log: Path | None = None, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
        until = time.monotonic() + seconds
        while not condition():
            dead = self._process is not None and self._process.poll() is not None
            if dead or time.monotonic() > until:
                raise AssertionError("it does not come true; " + (log.read_text()[-3000:] if log else ""))
            time.sleep(0.05)
