"""Lines that would come once per request come once a minute, with their number."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_mlops.serving import repeated_log
from airflow_provider_mlops.serving.repeated_log import RepeatedLog


def test_repetitions_are_counted_by_key(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = RepeatedLog(logging.getLogger("repeated"), clock=lambda: now[0])
    for _ in range(5):
        log.error("disk", "The disk of %s is full", "ulm")
        log.warning("model", "The model is slow")
    now[0] = 59.9
    log.error("disk", "The disk of %s is full", "ulm")
    now[0] = 60.0
    log.error("disk", "The disk of %s is full", "ulm")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "The disk of ulm is full"),
        ("WARNING", "The model is slow"),
        ("ERROR", "The disk of ulm is full (and 5 more times since it was last logged)"),
    ]


def test_the_keys_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(repeated_log, "_MAX_KEYS", 10)
    log = RepeatedLog(logging.getLogger("repeated"), clock=lambda: 0.0)
    for number in range(100):
        log.error(number, "number %d", number)
    assert len(caplog.records) == 100
    # The oldest were forgotten, so they are logged again.
    assert log.error(0, "number 0")
    assert not log.error(99, "number 99")
