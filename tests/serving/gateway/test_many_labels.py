"""Many labels are parsed and logged off the event loop, and in steps that let other threads run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from airflow_provider_mlops.serving.gateway.access.access import Access, Caller
from airflow_provider_mlops.serving.gateway.access.doors import CALLER
from airflow_provider_mlops.serving.gateway.feedback_endpoint import FeedbackEndpoint
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id, segments
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.protocols import feedback, long_list
from airflow_provider_mlops.serving.protocols.memory_budget import MemoryBudget

LABELS = 60_000


def body() -> bytes:
    entries = [{"prediction_id": prediction_id.new(), "label": str(number % 3)} for number in range(LABELS)]
    return json.dumps({"feedback": entries}).encode()


def noted(function: Callable[..., Any], threads: set[str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return function(*arguments)

    return call


def test_labels_of_megabytes_are_parsed_and_logged_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    log = WriteAhead(str(tmp_path))
    monkeypatch.setattr(feedback, "parse_large", noted(feedback.parse_large, threads))
    monkeypatch.setattr(WriteAhead, "feedback", noted(WriteAhead.feedback, threads))
    endpoint = FeedbackEndpoint(log, 2**24, Metrics(), MemoryBudget(2**28), Access(Settings(str(tmp_path)), Metrics()))
    content = body()

    async def receive() -> Message:
        return {"type": "http.request", "body": content}

    async def run() -> Response:
        scope = {"type": "http", "method": "POST", "headers": [], CALLER: Caller()}
        return await endpoint.accept(Request(scope, receive))

    assert json.loads(bytes(asyncio.run(run()).body)) == {"accepted": LABELS}
    endpoint.close()
    assert threads == {"feedback_0"}
    log.close()


def test_labels_are_logged_in_lines_that_are_quickly_written_and_read(tmp_path: Path) -> None:
    log = WriteAhead(str(tmp_path))
    labels = feedback.parse_large(body())
    log.feedback(labels)
    (segment,) = segments.segments(str(tmp_path))
    lines = [line for _, line in segments.lines(segment.path, 0, log.position()[1])]
    assert len(lines) == LABELS / 1000
    assert max(map(len, lines)) < 128 * 1024
    rows = [row for line in lines for row in json.loads(line)["feedback"]]
    assert [(row[0], row[1], None) for row in rows] == labels
    # Later labels have later times.
    assert [row[2] for row in rows] == list(range(rows[0][2], rows[0][2] + LABELS))
    log.close()


def test_the_parser_lets_other_threads_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []
    monkeypatch.setattr(long_list.time, "sleep", pauses.append)
    assert len(feedback.parse_large(body())) == LABELS
    assert len(pauses) == LABELS / 200
