"""What no rollout asks for is not read again, and nothing that one asks for is missed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.log import segments
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.logged_traffic import champion_answers
from tests.helpers.rollouts import canary, task


@given(st.lists(st.sampled_from(["plain", "marked", "run"]), max_size=40), st.sampled_from([300, 10**6]))
@settings(max_examples=25, deadline=None)
def test_everything_with_marks_counts_whatever_comes_between(events: list[str], segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = RolloutStore(default_url(directory))
        rollout = store.start("churn", canary(), task()).id
        log = WriteAhead(f"{directory}/write-ahead", segment_bytes=segment_bytes)
        ingestion = Ingestion(store, log.root, log)
        for event in events:
            if event == "run":
                ingestion.run()
            else:
                champion_answers(log, rollout if event == "marked" else None)
        ingestion.run()
        counted = sum(found.requests for found in store.statistics(rollout).values())
        assert counted == events.count("marked")
        log.rotate()
        ingestion.run()
        assert all(map(ingestion.is_ingested, log.sealed()))
        log.close()
        # Whoever takes the log over counts nothing twice.
        assert Ingestion(store, log.root).run() == 0
        store.close()


def test_plain_traffic_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    rollout = store.start("churn", canary(), task()).id
    log = WriteAhead(str(tmp_path / "write-ahead"))
    ingestion = Ingestion(store, log.root, log)
    read: list[int] = []
    lines = segments.lines

    def noted(path: str, start: int, end: int):  # type: ignore[no-untyped-def]
        read.append(end - start)
        return lines(path, start, end)

    ingestion.run()
    monkeypatch.setattr(segments, "lines", noted)
    for _ in range(5):
        champion_answers(log)
    ingestion.run()
    assert sum(read) == 0
    champion_answers(log, rollout)
    champion_answers(log)
    ingestion.run()
    assert sum(read) > 0
    assert store.statistics(rollout)[0, "champion"].requests == 1
    store.close()
    log.close()
