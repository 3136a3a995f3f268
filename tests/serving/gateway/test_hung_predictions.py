"""Predictions that never return: each costs a thread, three of them the version, and the gateway says so."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts_in_gateway import Serve
from tests.helpers.serving import misbehaving_versions as versions
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.misbehaving_versions import CANDIDATE, CHAMPION, row


@pytest.fixture
def process(serve: Serve, storage: Path, tmp_path: Path, store: RolloutStore) -> LiveGateway:
    environment = versions.add_misbehaving_versions(storage, tmp_path)
    process = serve("--allow-pickle", "--predict-seconds", "0.5", **environment)
    with process.client() as client:
        client.activate("cancer", CHAMPION)
        client.activate("cancer", CANDIDATE)
    return process


def ask(process: LiveGateway, value: float, rows: int = 1) -> int:
    body = {"instances": row(value)["instances"] * rows}
    return httpx.post(f"{process.url}/models/cancer/invocations", json=body, timeout=30).status_code


def ready(process: LiveGateway) -> httpx.Response:
    return httpx.get(f"{process.url}/v2/health/ready", timeout=5)


def test_a_prediction_that_hangs_costs_a_thread_and_three_cost_the_version(process: LiveGateway) -> None:
    assert ready(process).json()["status"] == "ready"
    for hung in (1, 2):
        # It sleeps for three seconds, six times longer than a caller waits. The next request is answered at once.
        assert ask(process, versions.SLEEPS) == 503
        assert ask(process, 20) == 200
        answer = ready(process)
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["degraded"] == [
            f"{hung} prediction{'s' if hung > 1 else ''} of cancer version {CANDIDATE} did not return"
        ]
    assert ask(process, versions.SLEEPS) == 503
    refused = httpx.post(f"{process.url}/models/cancer/invocations", json=row(20))
    assert refused.status_code == 503
    assert "does not return from 3 predictions" in refused.json()["error"]
    answer = ready(process)
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert "3 predictions of cancer" in answer.json()["reasons"][0]
    # The other versions are not affected.
    path = f"{process.url}/v2/models/cancer/versions/{CHAMPION}/infer"
    tensors = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 30], "data": row(20)["instances"][0]}]}
    assert httpx.post(path, json=tensors).status_code == 200
    # Once they have returned, it answers again.
    process.wait(lambda: ask(process, 20) == 200, "it answers again")
    process.wait(lambda: ready(process).json()["status"] == "ready", "it is ready again")
    text = process.log.read_text()
    assert text.count("Its thread was replaced") == 3
    assert "The version gets no more requests" in text
    assert process.stop() == 0


def test_large_requests_that_hang_return_as_well(process: LiveGateway) -> None:
    """They are parsed and predicted alone in a thread, and their callers wait for that thread."""
    for _ in range(2):
        assert ask(process, versions.SLEEPS, rows=500) == 503
    assert ask(process, 20) == 200
    assert "2 predictions of cancer" in ready(process).json()["degraded"][0]
    process.wait(lambda: ready(process).json()["status"] == "ready", "both have returned", 20)
    assert process.log.read_text().count("that hung has returned") == 2
