"""What other policies would have earned: against the truth of a simulated log, written as a gateway writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from airflow_provider_mlops.cli.app import app
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.counterfactual import always, counterfactual, logged_decisions, uniform
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.log import layout, prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, canary, task

NOW = datetime.now(UTC) - timedelta(minutes=1)
SEGMENTS = {"kind": "category", "name": "segment", "source": "header", "values": ["new", "loyal"]}
CONTEXTUAL = {"strategy": {"kind": "contextual_bandit", "features": [SEGMENTS]}}
# By segment: what the champion and the candidate earn.
TRUTH = {"new": (0.2, 0.7), "loyal": (0.6, 0.3)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(tmp_path)))
    yield store
    store.close()


@pytest.fixture
def log(tmp_path: Path) -> WriteAhead:
    return WriteAhead(layout.write_ahead_root(str(tmp_path)))


def answer(log: WriteAhead, rollout: Rollout, arm: str, propensity: float, rows: int = 1, **context: str) -> str:
    name = prediction_id.new()
    version = next(known.version for known in rollout.plan.arms if known.name == arm)
    log_predictions(
        log,
        LogSchema("churn", version, (), "long"),
        name,
        arm=arm,
        propensity=propensity,
        features=[],
        output=[1] * rows,
        latency_ms=1.0,
        rollout_context=answer_context(rollout.id, 0, context=context or None),
    )
    return name


def simulated(log: WriteAhead, rollout: Rollout, requests: int, seed: int = 0) -> None:
    """A policy that prefers the candidate for the loyal, wrongly, and explores."""
    random = np.random.default_rng(seed)
    for _ in range(requests):
        segment = str(random.choice(["new", "loyal"]))
        share = 0.8 if segment == "loyal" else 0.3
        place = int(random.random() < share)
        name = answer(log, rollout, ("champion", "candidate")[place], (1 - share, share)[place], segment=segment)
        log.feedback([(name, None, float(random.random() < TRUTH[segment][place]))])


def test_the_truth_lies_in_the_intervals(store: RolloutStore, log: WriteAhead, tmp_path: Path) -> None:
    rollout = store.start("churn", bandit(**CONTEXTUAL), task(), NOW)
    simulated(log, rollout, 4000)
    decisions = logged_decisions(str(tmp_path), rollout)
    assert decisions.rewards.size == 4000

    def by_segment(context: Any) -> tuple[float, float]:
        return (0.0, 1.0) if context["segment"] == "new" else (1.0, 0.0)

    for policy, truth in (
        (always(rollout.plan, "champion"), 0.4),
        (always(rollout.plan, "candidate"), 0.5),
        (uniform(rollout.plan), 0.45),
        (by_segment, 0.65),
    ):
        found = counterfactual(decisions, policy, confidence=0.999)
        for estimate in (found.inverse_propensity, found.self_normalized, found.doubly_robust):
            assert estimate.interval is not None
            assert estimate.interval.low < truth < estimate.interval.high
            assert estimate.interval.high - estimate.interval.low < 0.2
        # A model of the rewards makes it no less precise.
        assert found.doubly_robust.standard_error < found.inverse_propensity.standard_error
    # The mean of the log itself is not what any version earns.
    assert abs(decisions.rewards.mean() - 0.4) > 0.02


def test_of_a_fair_split_it_is_the_mean_of_the_arm(store: RolloutStore, log: WriteAhead, tmp_path: Path) -> None:
    rollout = store.start("churn", bandit(), task(), NOW)
    rewards = {"champion": [1.0, 0.0, 0.0, 1.0], "candidate": [1.0, 1.0, 0.0]}
    for arm, values in rewards.items():
        for value in values:
            log.feedback([(answer(log, rollout, arm, 0.5), None, value)])
    answer(log, rollout, "champion", 0.5)
    decisions = logged_decisions(str(tmp_path), rollout)
    for arm, values in rewards.items():
        estimate = counterfactual(decisions, always(rollout.plan, arm)).self_normalized
        assert estimate.value == pytest.approx(np.mean(values))
        assert estimate.effective_count == pytest.approx(len(values))


def test_rows_of_a_request_are_one_decision_and_labels_may_be_what_counts(
    store: RolloutStore, log: WriteAhead, tmp_path: Path
) -> None:
    rollout = store.start("churn", bandit(reward={"source": "correct"}), task(), NOW)
    other = store.start("other", bandit(reward={"source": "correct"}), task("run-2"), NOW)
    name = answer(log, rollout, "candidate", 0.5, rows=4)
    log.feedback([(row, label) for row, label in zip(prediction_id.of_rows(name, 4), "1110", strict=True)])
    log.feedback([(answer(log, rollout, "champion", 0.5), "0")])
    log.feedback([(answer(log, other, "champion", 0.5), "1")])
    decisions = logged_decisions(str(tmp_path), rollout)
    assert sorted(zip(decisions.arms.tolist(), decisions.rewards.tolist(), strict=True)) == [(0, 0.0), (1, 0.75)]


def test_without_rewards_it_says_so(store: RolloutStore, log: WriteAhead, tmp_path: Path) -> None:
    rollout = store.start("churn", canary(), task(), NOW)
    with pytest.raises(InvalidSpecError, match="declares no reward"):
        logged_decisions(str(tmp_path), rollout)
    learning = store.start("other", bandit(), task("run-2"), NOW)
    answer(log, learning, "champion", 0.5)
    with pytest.raises(InvalidSpecError, match="fewer than two"):
        logged_decisions(str(tmp_path), learning)


def test_the_report_shows_all_of_it(store: RolloutStore, log: WriteAhead, tmp_path: Path) -> None:
    rollout = store.start("churn", bandit(**CONTEXTUAL), task(), NOW)
    simulated(log, rollout, 60)
    Ingestion(store, log.root, log).run()
    for name in ("churn", rollout.id):
        done = CliRunner().invoke(app, ["report", name, "--storage-uri", str(tmp_path)], env={"COLUMNS": "160"})
        assert done.exit_code == 0, done.output
        for text in (rollout.id, "running at step 1 of 1", "always candidate", "60 decisions", "the rollout started"):
            assert text in done.output
    unknown = CliRunner().invoke(app, ["report", "nothing", "--storage-uri", str(tmp_path)])
    assert unknown.exit_code == 2
    assert "nor a rollout of a model with this name" in unknown.output


def test_the_report_of_an_ab_test_says_how_many_rewards_it_needs(store: RolloutStore, tmp_path: Path) -> None:
    strategy = {"kind": "ab", "min_effect": 0.1, "baseline": 0.3}
    plan = canary(strategy=strategy, gates=[{"kind": "metric"}], reward={"binary": True})
    store.start("churn", plan, task(), NOW)
    sizes = sample_sizes(plan)
    assert sizes is not None
    done = CliRunner().invoke(app, ["report", "churn", "--storage-uri", str(tmp_path)], env={"COLUMNS": "160"})
    assert f"Sample size: {sizes[0]:,} rewards of the candidate" in done.output
    assert "fewer than two of the rollout" in done.output
