"""Limits are answered with 429, and what Prometheus is told is what has happened."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from airflow_provider_mlops.serving.gateway.workers import listening
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, copy_to

BODY = {"instances": CANCER.head(3).to_numpy().tolist()}


@pytest.fixture(scope="module")
def limited(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("limited")
    copy_to(served_models, directory)
    options = ("--model", "cancer", "--max-requests", "2", "--log-format", "json")
    process = LiveGateway.launch(directory, *options)
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


def numbers(url: str) -> dict[tuple[str, ...], float]:
    """The samples of `/metrics` by name and the values of their labels."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_was_answered_and_what_was_refused_is_counted(limited: LiveGateway) -> None:
    url = f"{limited.url}/v2/models/cancer"
    before = numbers(limited.url)
    for _ in range(5):
        assert httpx.post(f"{limited.url}/models/cancer/invocations", json=BODY).status_code == 200
    answer = httpx.post(f"{limited.url}/models/cancer/invocations", json=BODY)
    httpx.post(f"{limited.url}/models/cancer/invocations", content=b"{")
    httpx.post(f"{url}/versions/7/infer", json={})
    httpx.post(f"{limited.url}/v2/models/nobody/infer", json={})
    httpx.post(f"{limited.url}/feedback", json={"prediction_id": answer.headers["x-prediction-id"], "label": 1})
    after = numbers(limited.url)

    def more(*key: str) -> float:
        return after[key] - before.get(key, 0.0)

    # The labels in the order of their names: arm, model, status, version.
    assert more("mlops_requests_total", "champion", "cancer", "200", "1") == 6
    assert more("mlops_requests_total", "champion", "cancer", "400", "1") == 1
    assert more("mlops_requests_total", "", "cancer", "404", "") == 1
    assert more("mlops_requests_total", "", "", "404", "") == 1
    assert more("mlops_rows_total", "champion", "cancer", "1") == 18
    assert more("mlops_request_seconds_count", "champion", "cancer", "1") == 6
    assert more("mlops_request_seconds_bucket", "champion", "60.0", "cancer", "1") == 6
    assert 0 < more("mlops_request_seconds_sum", "champion", "cancer", "1") < 6
    assert more("mlops_feedback_total") == 1
    assert after["mlops_weight", "champion", "cancer", "1"] == 1.0
    assert after["mlops_requests_in_progress",] == 0


def test_the_weights_follow_the_routing(limited: LiveGateway) -> None:
    with limited.client() as client:
        client.activate("cancer", 2)
        try:
            found = numbers(limited.url)
            assert found["mlops_weight", "champion", "cancer", "2"] == 1.0
            assert found.get(("mlops_weight", "champion", "cancer", "1"), 0.0) == 0.0
        finally:
            client.activate("cancer", 1)
    assert numbers(limited.url)["mlops_weight", "champion", "cancer", "2"] == 0.0


def test_too_many_at_once_are_told_to_come_again(limited: LiveGateway) -> None:
    host, port = limited.url.removeprefix("http://").split(":")
    head = b"POST /models/cancer/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    body = json.dumps(BODY).encode()
    connections = [socket.create_connection((host, int(port))) for _ in range(2)]
    try:
        for connection in connections:
            connection.sendall(head % len(body) + body[:10])
        limited.wait(lambda: numbers(limited.url)["mlops_requests_in_progress",] == 2, "two are in progress")
        answer = httpx.post(f"{limited.url}/models/cancer/invocations", json=BODY)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        # Everything else goes on, and so do those who were there before.
        assert httpx.get(f"{limited.url}/v2/health/ready").status_code == 200
        for connection in connections:
            connection.sendall(body[10:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        for connection in connections:
            connection.close()
    limited.wait(lambda: numbers(limited.url)["mlops_requests_in_progress",] == 0, "none is in progress")
    assert httpx.post(f"{limited.url}/models/cancer/invocations", json=BODY).status_code == 200


def test_the_log_is_one_object_a_line(limited: LiveGateway) -> None:
    entries = [json.loads(line) for line in limited.log.read_text().splitlines() if line.startswith("{")]
    entry = next(entry for entry in entries if listening.find_url(entry["message"]))
    assert (entry["level"], entry["process"]) == ("INFO", limited.process.pid)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])
