"""Feedback that does not fit: it counts as nothing, and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import canary, task

SCHEMA = LogSchema("churn", 1, (("age", "long"),), "long")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    found = RolloutStore(default_url(str(tmp_path)))
    yield found
    found.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WriteAhead]:
    found = WriteAhead(str(tmp_path / "write-ahead"))
    yield found
    found.close()


def begun(store: RolloutStore, reward: dict[str, object]) -> Rollout:
    return store.start("churn", canary(reward=reward, gates=[{"kind": "metric"}]), task())


def answered(log: WriteAhead, rollout: Rollout, rows: int = 1) -> str:
    request = prediction_id.new()
    log_predictions(
        log,
        SCHEMA,
        request,
        arm="candidate",
        propensity=0.5,
        features=[[40] * rows],
        output=[1] * rows,
        latency_ms=2.0,
        rollout_context=answer_context(rollout.id, 0),
    )
    return request


def counted(store: RolloutStore, rollout: Rollout) -> tuple[int, float]:
    found = store.statistics(rollout.id)[0, "candidate"]
    return found.reward_count, found.reward_total


def test_a_reward_whose_square_no_number_holds_is_none(store: RolloutStore, log: WriteAhead) -> None:
    """Anybody may send one, and all that came after it would wait behind it for ever."""
    rollout = begun(store, {"low": None, "high": None})
    log.feedback([(answered(log, rollout), None, 1e200), (answered(log, rollout), None, -3.0)])
    Ingestion(store, log.root, log).run()
    assert counted(store, rollout) == (1, -3.0)


@pytest.mark.parametrize("source", ["reward", "label", "correct"])
@pytest.mark.parametrize("rows", [1, 2])
def test_each_row_earns_once_whatever_ids_are_sent(
    store: RolloutStore, log: WriteAhead, source: str, rows: int
) -> None:
    rollout = begun(store, {"source": source})
    request = answered(log, rollout, rows)
    ends = ["", "-0", "-00", "-1", "-01", "-2", "-999999999"]
    log.feedback([(request + end, "1", 1.0) for end in ends])
    Ingestion(store, log.root, log).run()
    assert counted(store, rollout) == (rows, rows)
