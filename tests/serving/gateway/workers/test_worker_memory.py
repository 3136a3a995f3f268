"""A worker whose memory grows is replaced in order, and no request fails because of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.serving.gateway.workers import memory
from tests.helpers.serving import broken_versions
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER

_MODULE = """
import numpy as np
from sklearn.base import BaseEstimator

HELD = []


class Leaking(BaseEstimator):
    def fit(self, features, target):
        return self

    def predict(self, features):
        HELD.append(np.ones(1_000_000))
        return np.ones(len(features), dtype=int)
"""


def test_a_worker_that_takes_too_much_memory_is_replaced(storage: Path, tmp_path: Path) -> None:
    environment = broken_versions.add_versions(storage, tmp_path, _MODULE, lambda module: {6: module.Leaking()})
    options = ["--allow-pickle", "--model", "cancer", "--max-worker-memory", "900"]
    gateway = LiveGateway.launch(storage, *options, environment=environment)
    try:
        gateway.wait_until_ready()
        with gateway.client() as client:
            client.load("cancer", 6)
        (before,) = gateway.workers()
        url = f"{gateway.url}/v2/models/cancer/versions/6/infer"
        data = CANCER.head(1).to_numpy().ravel().tolist()
        body = {"inputs": [{"name": "rows", "datatype": "FP64", "shape": [1, 30], "data": data}]}
        statuses = set()

        def is_replaced() -> bool:
            # On a connection of its own: the version is not loaded by the next worker, which answers with 404.
            statuses.add(httpx.post(url, json=body, timeout=60).status_code)
            return gateway.workers() != [before] and len(gateway.workers()) == 1

        gateway.wait(is_replaced, "the worker is replaced", 240)
        assert statuses <= {200, 404, 503}
        log = gateway.log.read_text()
        assert f"Worker {before} takes" in log
        assert "was ended by" not in log
        gateway.wait(
            lambda: httpx.post(f"{gateway.url}/v2/models/cancer/infer", json=body, timeout=60).status_code == 200,
            "the champion answers",
        )
        assert memory.resident_bytes(gateway.workers()[0]) < 900 << 20
    finally:
        gateway.kill()


def test_a_limit_below_what_an_empty_worker_takes_is_refused(storage: Path) -> None:
    gateway = LiveGateway.launch(storage, "--max-worker-memory", "1")
    try:
        with pytest.raises(AssertionError, match="Invalid max_worker_memory=1: a worker without any model takes"):
            gateway.wait_until_ready()
    finally:
        gateway.kill()
