"""What a rollout has earned by labels is the same to the store, which learns, and to the log, which is asked later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_mlops.lifecycle.rollout.counterfactual import logged_decisions
from airflow_provider_mlops.serving.log import compaction, layout, prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.arm_statistics import over_all_steps
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, task

LABELS = ["1", "0", "0.25", "true", "false", "unknown", "1.0"]


@pytest.mark.parametrize("source", ["label", "correct"])
@pytest.mark.parametrize(
    ("output", "value"), [("long", 1), ("double", 1.0), ("boolean", True), ("string", "1"), ("string", "unknown")]
)
def test_labels_of_every_type_earn_the_same_in_store_and_log(
    tmp_path: Path, source: str, output: str, value: Any
) -> None:
    store, log = RolloutStore(default_url(str(tmp_path))), WriteAhead(layout.write_ahead_root(str(tmp_path)))
    plan = bandit(reward={"source": source}, strategy={"kind": "bandit", "algorithm": {"kind": "ucb1"}})
    rollout = store.start("churn", plan, task(), datetime.now(UTC) - timedelta(minutes=1))
    for label in LABELS:
        name = prediction_id.new()
        log_predictions(
            log,
            LogSchema("churn", 2, (), output),
            name,
            arm="candidate",
            propensity=0.5,
            features=[],
            output=[value],
            latency_ms=1.0,
            rollout_context=answer_context(rollout.id, 0),
        )
        # Of several labels the first one counts for the rollout.
        log.feedback([(name, label), (name, "1")])
    Ingestion(store, log.root, log).run()
    learnt = over_all_steps(store.statistics(rollout.id))["candidate"]
    expected = learnt.reward_count, learnt.reward_total, learnt.rewards_at_bounds
    for compacted in (False, True):
        if compacted:
            log.rotate()
            compaction.compact(str(tmp_path), log)
        rewards = logged_decisions(str(tmp_path), rollout).rewards
        assert (rewards.size, rewards.sum(), np.isin(rewards, (0.0, 1.0)).sum()) == expected
    store.close()
    log.close()
