"""What a fact counts as: rewards early, late and of each source, shadows, outputs and contexts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Table, func, select

from airflow_provider_mlops.serving.log import compaction, prediction_id, prediction_log, segments
from airflow_provider_mlops.serving.rollouts.evidence.ageing import Ageing
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context, shadow_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.tables import CURSORS, DECISIONS, REWARDS
from airflow_provider_mlops.serving.rollouts.transitions import rolled_back
from tests.helpers.logged_traffic import SCHEMA, Traffic, champion_answers, opened, started
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, canary


def test_nothing_is_written_where_nothing_is_rolled_out(store: RolloutStore, tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=1000)
    ingestion = Ingestion(store, log.root, log)
    for _ in range(30):
        champion_answers(log)
    assert ingestion.run() == 0
    log.rotate()
    assert all(map(ingestion.is_ingested, log.sealed()))
    champion_answers(log)
    log.rotate()
    assert not ingestion.is_ingested(log.sealed()[-1])
    ingestion.run()
    assert ingestion.is_ingested(log.sealed()[-1])
    with store.engine.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(CURSORS)) == 0


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


def test_rewards_after_the_end_count_no_more(store: RolloutStore, tmp_path: Path) -> None:
    log = opened(tmp_path)
    traffic, ingestion = Traffic(log, started(store)), Ingestion(store, log.root, log)
    first, second = traffic.answer("champion"), traffic.answer("champion")
    log.feedback([(first, None, 1.0)])
    ingestion.run()
    now = datetime.now(UTC)
    store.compare_and_set(traffic.rollout, rolled_back(traffic.rollout.plan, traffic.rollout.state, now, "a", ""))
    log.feedback([(second, None, 1.0), (prediction_id.new(), None, 1.0)])
    traffic.answer("champion")
    ingestion.run()
    assert store.statistics(traffic.rollout.id)[0, "champion"].reward_count == 1
    # The sums stay; the rows of single requests go.
    assert rows(store, DECISIONS) == 1
    Ageing(store.engine).run()
    assert rows(store, DECISIONS) == rows(store, REWARDS) == 0
    assert store.statistics(traffic.rollout.id)[0, "champion"].requests == 3
    assert [state.status for state in store.history(traffic.rollout.id)] == ["running", "rolled_back"]


def rows(store: RolloutStore, table: Table) -> int:
    with store.engine.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


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
    store: RolloutStore,
    tmp_path: Path,
    reward: dict[str, Any],
    label: str | None,
    number: float | None,
    expected: float | None,
) -> None:
    plan = canary(reward=reward, gates=[{"kind": "metric"}])
    log = opened(tmp_path)
    traffic = Traffic(log, started(store, plan))
    log.feedback([(traffic.answer("candidate"), label, number)])
    Ingestion(store, log.root, log).run()
    found = store.statistics(traffic.rollout.id)[0, "candidate"]
    assert (found.reward_count, found.reward_total) == ((0, 0.0) if expected is None else (1, expected))


def test_a_shadow_is_compared_and_outputs_are_counted(store: RolloutStore, tmp_path: Path) -> None:
    plan = canary(strategy={"kind": "shadow"}, gates=[{"kind": "agreement"}, {"kind": "drift", "classes": ["0", "1"]}])
    log = opened(tmp_path)
    rollout = started(store, plan)
    own = answer_context(rollout.id, 0)
    for champion, shadow in ([1, 0, 1], [1, 1, 2]), ([0], [0]):
        request = prediction_id.new()
        log_predictions(
            log,
            SCHEMA,
            request,
            arm="champion",
            propensity=1.0,
            features=[champion],
            output=champion,
            latency_ms=2.0,
            rollout_context=own,
        )
        log_predictions(
            log,
            SCHEMA,
            prediction_id.new(),
            arm="shadow",
            propensity=1.0,
            features=[champion],
            output=shadow,
            latency_ms=2.0,
            rollout_context=shadow_context(own, request, champion, shadow, 0.0),
        )
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    found = store.statistics(rollout.id)
    assert (found[0, "shadow"].compared, found[0, "champion"].compared) == (2, 0)
    assert found[0, "shadow"].agreed == pytest.approx(4 / 3)
    assert found[0, "shadow"].output_counts(3) == pytest.approx([1, 2 / 3, 1 / 3])
    assert found[0, "champion"].output_counts(3) == pytest.approx([4 / 3, 2 / 3, 0])
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
    features = [{"kind": "number", "name": "age", "center": 40, "scale": 10}]
    plan = bandit(strategy={"kind": "contextual_bandit", "features": features}, reward={})
    log = opened(tmp_path)
    rollout = started(store, plan)
    ages, rewards = [30.0, 50.0, 60.0], [0.25, 0.5, 1.0]
    for age, reward in zip(ages, rewards, strict=True):
        request = prediction_id.new()
        log_predictions(
            log,
            SCHEMA,
            request,
            arm="candidate",
            propensity=0.25,
            features=[[age]],
            output=[1],
            latency_ms=2.0,
            rollout_context=answer_context(rollout.id, 0, context={"age": age}),
        )
        log.feedback([(request, None, reward), (request, None, 0.0)])
    ingestion = Ingestion(store, log.root, log)
    ingestion.run()
    found = store.statistics(rollout.id)[0, "candidate"]
    x = np.array([[1, -1.0], [1, 1.0], [1, 2.0]])
    np.testing.assert_allclose(np.reshape(found.gram, (2, 2)), x.T @ x)
    np.testing.assert_allclose(found.response, x.T @ rewards)
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
    with open(segments.segments(log.root)[0].path, "ab") as file:
        file.write(
            b'{"predictions":"","rollout":1}\n{"feedback":[[1]]}\n{"feedback"\n{"failure":"","rollout":"gone"}\n'
        )
    Ingestion(store, log.root).run()
    assert store.statistics(traffic.rollout.id) == traffic.expected
