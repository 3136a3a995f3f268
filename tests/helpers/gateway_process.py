"""A gateway in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.admin import token


class GatewayProcess:
    """`airflow-mlops serve` on a port that the system chooses."""

    def __init__(self, storage: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.storage = storage
        self.log = storage / f"gateway-{time.monotonic_ns()}.log"
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "AIRFLOW"))
        }
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(storage)]
        command += ["--port", "0", "--poll-seconds", "0.2", *options]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env={**clean, **(environment or {})})
        try:
            self.wait(lambda: self._port() is not None, "it listens")
        except BaseException:
            self.kill()
            raise
        self.url = f"http://127.0.0.1:{self._port()}"

    def wait_until_ready(self) -> GatewayProcess:
        with self.client() as client:
            self.wait(client.ready, "it is ready")
        return self

    def client(self, given: str | None = None) -> GatewayClient:
        return GatewayClient(self.url, given or token.find(str(self.storage)))

    def kill(self) -> None:
        """SIGKILL, at once."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and wait. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"not true within {seconds} s: {what}\n{self.log.read_text()[-5000:]}")
            time.sleep(0.05)

    def _port(self) -> int | None:
        found = re.search(r"listens on http://[^ ]+:(\d+)", self.log.read_text())
        return int(found[1]) if found else None


def post(url: str, content: object, **options: object) -> httpx.Response:
    """One request on a connection of its own."""
    return httpx.post(url, json=content, timeout=30, **options)  # type: ignore[arg-type]
