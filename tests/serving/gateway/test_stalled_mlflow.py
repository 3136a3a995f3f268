"""An MLflow that accepts connections and never answers delays neither the end of a gateway nor an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import BackendUnavailableError
from tests.helpers.serving.live_gateway import LiveGateway

DRAIN_ENDED = "timeout graceful shutdown exceeded"
"""Logged by uvicorn when requests in progress are given up after the time for draining."""


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and reads, but never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def test_a_load_is_answered_and_sigterm_does_not_wait(tmp_path: Path, silent_server: str) -> None:
    gateway = LiveGateway.launch(tmp_path, "--tracking-uri", silent_server)
    try:
        with gateway.client() as client:
            with pytest.raises(BackendUnavailableError, match="MLflow"):
                client.load("churn", 1)
            with ThreadPoolExecutor(1) as executor:
                waiting = executor.submit(client.load, "churn", 2)
                gateway.wait(lambda: silent_server and not waiting.done(), "it is asked")
                assert gateway.stop() == 0
                with pytest.raises(BackendUnavailableError):
                    waiting.result()
    finally:
        gateway.kill()
    assert DRAIN_ENDED not in gateway.log.read_text()


def test_sigterm_while_two_workers_wait_for_mlflow(tmp_path: Path, silent_server: str) -> None:
    gateway = LiveGateway.launch(tmp_path, "--tracking-uri", silent_server, "--workers", "2")
    try:
        gateway.wait(lambda: gateway.log.read_text().count("Waiting for application startup") == 2, "both wait", 240)
        assert gateway.stop() == 0
    finally:
        gateway.kill()
    assert "killing it" not in gateway.log.read_text()
