"""Every acknowledged fact counts once: after a kill at any point, a takeover, two at once, an unavailable store."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert
from sqlalchemy.engine import Engine

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.serving.log import compaction, segments
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.rollouts.tables import DECISIONS
from tests.helpers.logged_traffic import SCHEMA, Traffic, opened, started


def test_what_is_logged_is_counted_as_it_comes(url: str, tmp_path: Path) -> None:
    store = RolloutStore(url)
    log = opened(tmp_path, segment_bytes=4000)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    for _ in range(10):
        traffic.some(20)
        ingestion.run()
        assert store.statistics(traffic.rollout.id) == traffic.expected
    assert ingestion.run() == 0
    assert len(segments.segments(log.root)) > 3
    before = store.changes()
    ingestion.run()
    assert store.changes() == before
    store.close()


BAD: dict[str, dict[str, Any]] = {
    "a step that no database takes": {"step": 2**70},
    "a step that is not whole": {"step": 0.5},
    "no arm": {"arm": None},
    "an arm that is a number": {"arm": {"name": "candidate"}},
    "an arm of no plan": {"arm": "candidate_9"},
    "a latency that is text": {"latency_ms": "slow"},
    "no rows": {"output": 7},
    "a letter that PostgreSQL does not take": {"predictions": "f00d\x00"},
    "half of a letter": {"predictions": "f00d\ud800"},
}


@pytest.mark.parametrize("name", BAD)
def test_a_record_that_cannot_be_counted_stops_nothing(
    url: str, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = RolloutStore(url)
    log = opened(tmp_path)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    traffic.some(20)
    before = log.position()[1]
    traffic.answer("candidate")
    # The same answer once more, with an id of its own and one wrong field.
    (path,) = [segment.path for segment in segments.segments(log.root)]
    content = json.loads(Path(path).read_bytes()[before:].splitlines()[-1])
    content |= {"predictions": "beef" * 8, **BAD[name]}
    log.append([json.dumps(content, separators=(",", ":")).encode() + b"\n"], SCHEMA)
    traffic.some(20)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    skipped = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(skipped) == 1
    assert f"of {path}, because it cannot be counted" in skipped[0]
    # It is not tried again, neither by this process nor by the next one.
    assert ingestion.run() == 0
    assert Ingestion(store, log.root).run() == 0
    traffic.some(5)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    store.close()


def dying(storage: Path, root: str, fatal: int) -> bool:
    """Ingest in a process of its own that is killed at the step `fatal` of its work on the database."""
    child = os.fork()
    if child == 0:
        steps = 0

        def step(*_: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            for name in ("begin", "before_cursor_execute", "after_cursor_execute", "commit"):
                event.listen(Engine, name, step)
            Ingestion(RolloutStore(default_url(str(storage))), root).run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_step_neither_loses_nor_doubles(store: RolloutStore, tmp_path: Path) -> None:
    """Each process takes over the dead writer's segments, gets one step further than the one before, and is killed."""
    log = opened(tmp_path, segment_bytes=2500)
    traffic = Traffic(log, started(store))
    traffic.some(80)
    rollout, expected = traffic.rollout.id, traffic.expected
    log.close()
    store.close()
    fatal = 1
    while dying(tmp_path / "store", log.root, fatal):
        seen = ArmStatistics.sum(RolloutStore(default_url(str(tmp_path / "store"))).statistics(rollout).values())
        assert seen.requests <= ArmStatistics.sum(expected.values()).requests
        # From where the killed ones left off; each commit makes the rest shorter.
        fatal += 1
    assert fatal > 10
    assert RolloutStore(default_url(str(tmp_path / "store"))).statistics(rollout) == expected


@pytest.mark.parametrize("fatal", [1, 8, 20, 30, 45, 60])
def test_a_kill_in_the_middle_and_one_complete_run(store: RolloutStore, tmp_path: Path, fatal: int) -> None:
    log = opened(tmp_path, segment_bytes=2500)
    traffic = Traffic(log, started(store))
    traffic.some(80)
    log.close()
    assert dying(tmp_path / "store", log.root, fatal)
    Ingestion(store, log.root).run()
    assert store.statistics(traffic.rollout.id) == traffic.expected


def test_another_process_takes_over_a_dead_writer_in_the_middle(store: RolloutStore, tmp_path: Path) -> None:
    dead = opened(tmp_path, segment_bytes=2500)
    traffic = Traffic(dead, started(store))
    traffic.some(40)
    Ingestion(store, dead.root, dead).run()
    traffic.some(40)
    dead.close()
    # What was not finished was not acknowledged.
    with open(segments.segments(dead.root)[-1].path, "ab") as file:
        file.write(b'{"failure":"' + 32 * b"0" + b'","rollout":"')
    log = opened(tmp_path)
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    left = [segment for segment in segments.segments(log.root) if segment.writer == dead.writer]
    assert all(map(ingestion.is_ingested, left))
    assert compaction.compact(str(tmp_path), log, ingestion.is_ingested) == len(left)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected


def test_two_at_once_on_the_same_segments(url: str, tmp_path: Path) -> None:
    """Without the locks that keep them apart as a rule: the cursor alone has to."""
    log = opened(tmp_path, segment_bytes=1500)
    stores = [RolloutStore(url) for _ in range(3)]
    traffic = Traffic(log, started(stores[0]))
    traffic.some(100)
    log.rotate()

    def ingest(store: RolloutStore) -> None:
        ingestion = Ingestion(store, log.root)
        for segment in log.sealed():
            ingestion.ingest(segment)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ingest, stores))
    assert stores[0].statistics(traffic.rollout.id) == traffic.expected
    for each in stores:
        each.close()


@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 100), restarts=st.booleans())
@settings(max_examples=25, deadline=None)
def test_it_does_not_matter_when_it_is_ingested_and_by_whom(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], seed: int, restarts: bool
) -> None:
    tmp_path = tmp_path_factory.mktemp("ingestion")
    store = RolloutStore(default_url(str(tmp_path)))
    log = opened(tmp_path, segment_bytes=3000)
    traffic = Traffic(log, started(store), random.Random(seed))
    ingestion = Ingestion(store, log.root, log)
    for place in range(60):
        traffic.some(1)
        if place in cuts:
            if restarts:
                ingestion = Ingestion(store, log.root, log)
            ingestion.run()
            compaction.compact(str(tmp_path), log, ingestion.is_ingested)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    store.close()
    shutil.rmtree(tmp_path)


def test_a_store_that_is_made_anew_takes_what_belongs_to_it(tmp_path: Path) -> None:
    url, log = default_url(str(tmp_path)), opened(tmp_path)
    store = RolloutStore(url)
    before = Traffic(log, started(store))
    before.some(20)
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    assert before.expected == store.statistics(before.rollout.id)
    for file in tmp_path.glob("rollouts.db*"):
        file.unlink()
    before.fail("candidate")
    with pytest.raises(BackendUnavailableError, match="missing"):
        ingestion.run()
    anew = RolloutStore(url)
    after = Traffic(log, started(anew))
    name = before.answer("candidate")
    after.some(20)
    with anew.engine.writing() as connection:
        # As a process writes it that does not know better.
        decision = {"prediction_id": bytes.fromhex(name), "rollout": 99, "step": 0, "arm": 1, "rows": 1, "since": 0}
        connection.execute(insert(DECISIONS).values(**decision))
    before.reward(name, "candidate", 1.0)
    ingestion.run()
    assert anew.statistics(before.rollout.id) == {}
    assert anew.statistics(after.rollout.id) == after.expected
    store.close()
    anew.close()


def test_while_the_store_is_away_the_log_keeps_everything(tmp_path: Path) -> None:
    store = RolloutStore(default_url(str(tmp_path / "store")))
    log = opened(tmp_path, segment_bytes=2000)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    traffic.some(30)
    ingestion.run()
    store.close()
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("no directory")
    traffic.some(30)
    log.rotate()
    with pytest.raises(BackendUnavailableError):
        ingestion.run()
    kept = len(log.sealed())
    compaction.compact(str(tmp_path), log, ingestion.is_ingested)
    assert 0 < len(log.sealed()) < kept
    (tmp_path / "store").unlink()
    (tmp_path / "gone").rename(tmp_path / "store")
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    assert all(map(ingestion.is_ingested, log.sealed()))
    store.close()
