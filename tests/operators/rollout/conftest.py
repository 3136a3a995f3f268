"""The gateway's storage as the storage of Airflow, and the rollout store in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.serving.live_gateway import LiveGateway


@pytest.fixture
def storage(live: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = {"conn_type": "mlops_gateway", "host": live.url, "password": local_key.find(str(live.storage))}
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(live.storage))
    return live.storage


@pytest.fixture
def store(base: Workspace) -> Iterator[RolloutStore]:
    with contextlib.closing(base.rollout_store()) as opened:
        yield opened
