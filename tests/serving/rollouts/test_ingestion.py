"""Every acknowledged fact counts once: after a kill at any point, a takeover, two at once, a store that is away."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, insert, select
from sqlalchemy.engine import Engine

from airflow_provider_mlops.errors import BackendAwayError
from airflow_provider_mlops.serving.log import compaction, prediction_id, prediction_log, write_ahead
from airflow_provider_mlops.serving.log.log_schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.marks import marks, shadow_marks
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutSpec
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.rollouts.tables import CURSORS, DECISIONS, REWARDS
from airflow_provider_mlops.serving.rollouts.transitions import rolled_back, settled
from tests.serving.rollout_in_test import bandit, canary, task
from tests.serving.rollouts.test_rollout_store import cluster as cluster
from tests.serving.rollouts.test_rollout_store import url as url

SCHEMA = LogSchema("churn", 1, (("age", "long"),), "long")


@dataclass
class Traffic:
    """Logs what a gateway would, and adds up itself what that should come to."""

    log: WriteAhead
    rollout: Rollout
    random: random.Random = field(default_factory=lambda: random.Random(1))
    expected: dict[tuple[int, str], ArmStatistics] = field(default_factory=dict)
    open: list[tuple[str, str]] = field(default_factory=list)
    rewarded: set[str] = field(default_factory=set)

    def add(self, arm: str, **counts: Any) -> None:
        self.expected[0, arm] = self.expected.get((0, arm), ArmStatistics()) + ArmStatistics(**counts)

    def answer(self, arm: str, rows: int = 1, latency: float = 3.0) -> str:
        request = prediction_id.new()
        self.log.predictions(
            SCHEMA, request, arm=arm, propensity=0.5, features=[[40] * rows], output=[1] * rows, probabilities=None,
            latency_ms=latency, marks=marks(self.rollout.id, 0),
        )  # fmt: skip
        self.add(arm, requests=1, rows=rows, latency={latency_cell(latency): 1})
        self.open += [(name, arm) for name in prediction_id.of_rows(request, rows)]
        return request

    def fail(self, arm: str) -> None:
        self.log.failure(
            prediction_id.new(), model="churn", version=2, arm=arm, latency_ms=1.0, error="ZeroDivisionError",
            marks=marks(self.rollout.id, 0),
        )  # fmt: skip
        self.add(arm, requests=1, errors=1)

    def reward(self, name: str, arm: str, value: float) -> None:
        self.log.feedback([(name, None, value)])
        if name not in self.rewarded:
            self.rewarded.add(name)
            self.add(arm, reward_count=1, reward_total=value, reward_squares=value**2)

    def some(self, count: int) -> None:
        """Answers, failures, rewards, rewards once more, and what belongs to no rollout."""
        for _ in range(count):
            kind, arm = self.random.random(), self.random.choice(["champion", "candidate"])
            if kind < 0.4:
                self.answer(arm, self.random.choice([1, 3]), self.random.choice([0.5, 3.0, 200.0]))
            elif kind < 0.5:
                self.fail(arm)
            elif kind < 0.6:
                self.log.predictions(
                    SCHEMA, prediction_id.new(), arm="pinned", propensity=1.0, features=[[1]], output=[1],
                    probabilities=None, latency_ms=1.0,
                )  # fmt: skip
                self.log.feedback([(prediction_id.new(), "1")])
            elif self.open:
                self.reward(*self.random.choice(self.open), float(self.random.choice([0, 1])))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(tmp_path)))
    yield store
    store.close()


def opened(tmp_path: Path, **options: Any) -> WriteAhead:
    return WriteAhead(str(tmp_path / "write-ahead"), **options)


def started(store: RolloutStore, spec: RolloutSpec | None = None) -> Rollout:
    return store.start("churn", spec or bandit(), task())


def test_what_is_logged_is_counted_as_it_comes(url: str, tmp_path: Path) -> None:
    store = RolloutStore(url)
    log = opened(tmp_path, segment_bytes=4000)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    for _ in range(10):
        traffic.some(20)
        ingestion.run()
        assert store.statistics(traffic.rollout.id) == traffic.expected
    assert ingestion.run() == 0
    assert len(write_ahead.segments(log.root)) > 3
    before = store.changes()
    ingestion.run()
    assert store.changes() == before
    store.close()


def test_nothing_is_written_where_nothing_is_rolled_out(store: RolloutStore, tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=1000)
    ingestion = Ingestion(store, log.root, log)
    for _ in range(30):
        log.predictions(
            SCHEMA, prediction_id.new(), arm="champion", propensity=1.0, features=[[1]], output=[1],
            probabilities=None, latency_ms=1.0,
        )  # fmt: skip
    assert ingestion.run() == 0
    log.rotate()
    assert all(map(ingestion.is_ingested, log.sealed()))
    log.predictions(
        SCHEMA, prediction_id.new(), arm="champion", propensity=1.0, features=[[1]], output=[1], probabilities=None,
        latency_ms=1.0,
    )  # fmt: skip
    log.rotate()
    assert not ingestion.is_ingested(log.sealed()[-1])
    ingestion.run()
    assert ingestion.is_ingested(log.sealed()[-1])
    with store.engine.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(CURSORS)) == 0


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
    while dying(tmp_path, log.root, fatal):
        seen = ArmStatistics.sum(RolloutStore(default_url(str(tmp_path))).statistics(rollout).values())
        assert seen.requests <= ArmStatistics.sum(expected.values()).requests
        # From where the killed ones left off; each commit makes the rest shorter.
        fatal += 1
    assert fatal > 10
    assert RolloutStore(default_url(str(tmp_path))).statistics(rollout) == expected


@pytest.mark.parametrize("fatal", [1, 8, 20, 30, 45, 60])
def test_a_kill_in_the_middle_and_one_complete_run(store: RolloutStore, tmp_path: Path, fatal: int) -> None:
    log = opened(tmp_path, segment_bytes=2500)
    traffic = Traffic(log, started(store))
    traffic.some(80)
    log.close()
    assert dying(tmp_path, log.root, fatal)
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
    with open(write_ahead.segments(dead.root)[-1].path, "ab") as file:
        file.write(b'{"failure":"' + 32 * b"0" + b'","rollout":"')
    log = opened(tmp_path)
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
    left = [segment for segment in write_ahead.segments(log.root) if segment.writer == dead.writer]
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
    for store in stores:
        store.close()


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
    with pytest.raises(BackendAwayError, match="gone"):
        ingestion.run()
    anew = RolloutStore(url)
    after = Traffic(log, started(anew))
    name = before.answer("candidate")
    after.some(20)
    with anew.engine.writing() as connection:
        # As a process writes it that does not know better.
        decision = {"prediction_id": name, "rollout": before.rollout.id, "step": 0, "arm": "candidate"}
        connection.execute(insert(DECISIONS).values(**decision, propensity=0.5, time=0))
    before.reward(name, "candidate", 1.0)
    ingestion.run()
    assert anew.statistics(before.rollout.id) == {}
    assert anew.statistics(after.rollout.id) == after.expected
    store.close()
    anew.close()


def test_feedback_before_its_decision_waits_for_it(store: RolloutStore, tmp_path: Path) -> None:
    """The gateway that took the feedback is quicker than the one that made the prediction."""
    asked, told = opened(tmp_path), opened(tmp_path)
    traffic = Traffic(asked, started(store))
    request = traffic.answer("candidate", rows=2)
    told.feedback([(f"{request}-1", None, 1.0), (f"{request}-1", None, 0.0), (f"{request}-0", "ignored")])
    Ingestion(store, told.root, told).run()
    assert store.statistics(traffic.rollout.id) == {}
    Ingestion(store, asked.root, asked).run()
    found = store.statistics(traffic.rollout.id)[0, "candidate"]
    assert (found.reward_count, found.reward_total) == (1, 1.0)
    # What the rollout does not ask for has not taken the place of what it does.
    told.feedback([(f"{request}-0", None, 0.0)])
    Ingestion(store, told.root, told).run()
    assert store.statistics(traffic.rollout.id)[0, "candidate"].reward_count == 2


def test_rewards_days_later_count_and_what_is_forgotten_does_not(store: RolloutStore, tmp_path: Path) -> None:
    log = opened(tmp_path)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    first, second = traffic.answer("champion"), traffic.answer("champion")
    ingestion.run()
    now = datetime.now(UTC)
    over = store.compare_and_set(
        traffic.rollout, rolled_back(traffic.rollout.spec, traffic.rollout.state, now, "a", "")
    )
    store.compare_and_set(over, settled(over.state, now, "a"))
    log.feedback([(first, None, 1.0), (prediction_id.new(), None, 1.0)])
    ingestion.run()
    assert store.statistics(traffic.rollout.id)[0, "champion"].reward_count == 1
    with store.engine.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(REWARDS)) == 1
    assert store.forget(now - timedelta(days=1)) == 0
    assert store.forget(now + timedelta(days=1)) == 3
    log.feedback([(second, None, 1.0)])
    ingestion.run()
    assert store.statistics(traffic.rollout.id)[0, "champion"].reward_count == 1


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
    with pytest.raises(BackendAwayError):
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


REWARDS_OF = [
    ({"source": "label", "low": 0, "high": 10}, "7", None, 7.0),
    ({"source": "label"}, "true", None, 1.0),
    ({"source": "label"}, "none", None, None),
    ({"source": "correct"}, "1", None, 1.0),
    ({"source": "correct"}, "0", 1.0, 0.0),
    ({"source": "reward", "low": None, "high": None}, "1", 12.5, 12.5),
    ({"source": "reward"}, None, 12.5, 1.0),
    ({"source": "reward"}, "1", None, None),
]


@pytest.mark.parametrize(("reward", "label", "number", "expected"), REWARDS_OF)
def test_what_feedback_counts_as(
    store: RolloutStore, tmp_path: Path, reward: dict[str, Any], label: str | None, number: float | None,
    expected: float | None,
) -> None:  # fmt: skip
    spec = canary(reward=reward, gates=[{"kind": "metric"}])
    log = opened(tmp_path)
    traffic = Traffic(log, started(store, spec))
    log.feedback([(traffic.answer("candidate"), label, number)])
    Ingestion(store, log.root, log).run()
    found = store.statistics(traffic.rollout.id)[0, "candidate"]
    assert (found.reward_count, found.reward_total) == ((0, 0.0) if expected is None else (1, expected))


def test_a_shadow_is_compared_and_outputs_are_counted(store: RolloutStore, tmp_path: Path) -> None:
    spec = canary(strategy={"kind": "shadow"}, gates=[{"kind": "agreement"}, {"kind": "drift", "classes": ["0", "1"]}])
    log = opened(tmp_path)
    rollout = started(store, spec)
    own = marks(rollout.id, 0)
    for champion, shadow in ([1, 0, 1], [1, 1, 2]), ([0], [0]):
        request = prediction_id.new()
        log.predictions(
            SCHEMA, request, arm="champion", propensity=1.0, features=[champion], output=champion, probabilities=None,
            latency_ms=2.0, marks=own,
        )  # fmt: skip
        log.predictions(
            SCHEMA, prediction_id.new(), arm="shadow", propensity=1.0, features=[champion], output=shadow,
            probabilities=None, latency_ms=2.0, marks=shadow_marks(own, request, champion, shadow, 0.0),
        )  # fmt: skip
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    found = store.statistics(rollout.id)
    assert (found[0, "shadow"].compared, found[0, "shadow"].agreed, found[0, "champion"].compared) == (4, 2, 0)
    assert found[0, "shadow"].output_counts(3) == [1, 2, 1]
    assert found[0, "champion"].output_counts(3) == [2, 2, 0]
    # And the log says which answers nobody has seen, and to what request they were copies.
    log.rotate()
    ingestion.run()
    compaction.compact(str(tmp_path), log, ingestion.is_ingested)
    rows = prediction_log.read(str(tmp_path), "churn").execute()
    shadows = rows[rows["arm"] == "shadow"]
    assert set(shadows["rollout"]) == {rollout.id}
    assert sorted({name.partition("-")[0] for name in rows[rows["arm"] == "champion"]["prediction_id"]}) == sorted(
        set(shadows["shadow_of"])
    )


def test_the_context_of_decisions_goes_to_the_model_and_to_the_log(store: RolloutStore, tmp_path: Path) -> None:
    features = [{"kind": "number", "name": "age", "centre": 40, "scale": 10}]
    spec = bandit(strategy={"kind": "contextual_bandit", "features": features}, reward={})
    log = opened(tmp_path)
    rollout = started(store, spec)
    ages, rewards = [30.0, 50.0, 60.0], [0.25, 0.5, 1.0]
    for age, reward in zip(ages, rewards, strict=True):
        request = prediction_id.new()
        log.predictions(
            SCHEMA, request, arm="candidate", propensity=0.25, features=[[age]], output=[1], probabilities=None,
            latency_ms=2.0, marks=marks(rollout.id, 0, context={"age": age}),
        )  # fmt: skip
        log.feedback([(request, None, reward), (request, None, 0.0)])
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    found = store.statistics(rollout.id)[0, "candidate"]
    x = np.array([[1, -1.0], [1, 1.0], [1, 2.0]])
    np.testing.assert_allclose(np.reshape(found.gram, (2, 2)), x.T @ x)
    np.testing.assert_allclose(found.response, x.T @ rewards)
    with store.engine.reading() as connection:
        assert set(connection.scalars(select(DECISIONS.c.propensity))) == {0.25}
    for compacted in (False, True):
        if compacted:
            log.rotate()
            ingestion.run()
            compaction.compact(str(tmp_path), log, ingestion.is_ingested)
        rows = prediction_log.read(str(tmp_path), "churn").execute()
        assert [json.loads(text)["age"] for text in rows["context"]] == rows["feature_age"].tolist() == ages
        assert rows["reward"].tolist() == rewards
        assert rows["label"].isna().all()


def test_a_line_that_is_broken_does_not_stop_the_others(store: RolloutStore, tmp_path: Path) -> None:
    log = opened(tmp_path)
    traffic = Traffic(log, started(store))
    traffic.answer("champion")
    log.close()
    with open(write_ahead.segments(log.root)[0].path, "ab") as file:
        file.write(
            b'{"predictions":"","rollout":1}\n{"feedback":[[1]]}\n{"feedback"\n{"failure":"","rollout":"gone"}\n'
        )
    Ingestion(store, log.root).run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
