"""A storage that does not answer is reported, and does not keep a gateway from stopping."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway import compactor
from airflow_provider_mlops.serving.gateway.compactor import Compactor
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.served_models import ServedModels
from tests.helpers.prediction_log import log_predictions

SCHEMA = LogSchema("churn", 1, (("age", "double"),), "string")
PLACE: dict[str, Any] = {
    "arm": "champion",
    "propensity": 1.0,
    "features": [[40.0]],
    "output": ["yes"],
    "latency_ms": 2.0,
}


class SilentFileSystem(MemoryFileSystem):
    """Object storage whose writes wait until the test lets them go on."""

    protocol = "silent"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    go_on = threading.Event()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        assert type(self).go_on.wait(60)
        return super().pipe_file(path, value, mode=mode, **options)


@pytest.fixture
def silent() -> Iterator[threading.Event]:
    fsspec.register_implementation("silent", SilentFileSystem, clobber=True)
    SilentFileSystem.go_on.clear()
    yield SilentFileSystem.go_on
    SilentFileSystem.go_on.set()
    SilentFileSystem.store.clear()


def test_a_storage_that_does_not_answer(
    tmp_path: Path, silent: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compactor, "_SLOW_SECONDS", 0.2)
    monkeypatch.setattr(compactor, "_LAST_SECONDS", 0.5)
    log = WriteAhead(str(tmp_path / "write-ahead"))
    settings = Settings("silent://mlops", rollout_store=f"sqlite:///{tmp_path}/rollouts.db")
    follower = RolloutFollower(settings, ServedModels(Registry(RegistrySettings(str(tmp_path)))), log, Metrics())
    compacting = Compactor(settings, log, follower)

    async def compact() -> None:
        log_predictions(log, SCHEMA, prediction_id.new("churn"), **PLACE)
        waiting = asyncio.create_task(compacting.compact_regularly())
        while compacting.problem() is None:
            assert not waiting.done()
            await asyncio.sleep(0.05)
        assert "the storage has not answered for" in str(compacting.problem())
        silent.set()
        await waiting
        assert compacting.problem() is None
        assert not log.sealed()
        silent.clear()
        log_predictions(log, SCHEMA, prediction_id.new("churn"), **PLACE)
        # It ends although the storage never answers.
        with caplog.at_level(logging.WARNING):
            await compacting.compact_at_the_end()
        assert "The next gateway to start will do it" in caplog.text
        assert log.sealed()
        silent.set()
        await follower.close()

    asyncio.run(compact())
    compacting.close()
    log.close()
