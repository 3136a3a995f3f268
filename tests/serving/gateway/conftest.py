"""Fixtures of the gateway's tests: rollouts of the model `cancer`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.rollouts_in_gateway import Serve
from tests.helpers.serving.broken_versions import add_broken_versions
from tests.helpers.serving.live_gateway import LiveGateway


@pytest.fixture
def store(storage: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(storage)))
    yield store
    store.close()


@pytest.fixture
def serve(storage: Path) -> Iterator[Serve]:
    """Starts a gateway for the model `cancer`, as often as it is called."""
    running: list[LiveGateway] = []

    def start(*options: str, **environment: str) -> LiveGateway:
        process = LiveGateway.launch(storage, "--model", "cancer", *options, environment=environment)
        running.append(process)
        return process.wait_until_ready()

    yield start
    for process in running:
        process.kill()


@pytest.fixture
def broken(storage: Path, tmp_path: Path) -> dict[str, str]:
    """Version 6 fails and version 7 hangs on some rows. Returns the environment in which they can be loaded."""
    return add_broken_versions(storage, tmp_path)
