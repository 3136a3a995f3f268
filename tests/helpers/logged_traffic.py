"""Answers, failures and rewards of a rollout as a gateway logs them, and what they come to."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, cluster_of, latency_cell
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, task

SCHEMA = LogSchema("churn", 1, (("age", "long"),), "long")


def champion_answers(log: WriteAhead, rollout: str | None = None) -> None:
    """Log one answer of the champion, of a rollout if one is named."""
    log_predictions(
        log,
        SCHEMA,
        prediction_id.new(),
        arm="champion",
        propensity=1.0,
        features=[[40]],
        output=[1],
        latency_ms=1.0,
        rollout_context=None if rollout is None else answer_context(rollout, 0),
    )


class Expected(dict[tuple[int, str], ArmStatistics]):
    """Statistics by step and arm. Deviations are rounded: their last digits depend on the order of additions."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and _rounded(self) == _rounded(other)

    __hash__ = None  # type: ignore[assignment]


def _rounded(statistics: Mapping[tuple[int, str], ArmStatistics]) -> dict[tuple[int, str], ArmStatistics]:
    return {key: replace(arm, reward_deviations=round(arm.reward_deviations, 9)) for key, arm in statistics.items()}


@dataclass
class Traffic:
    """Logs what a gateway would, and adds up itself what that should come to."""

    log: WriteAhead
    rollout: Rollout
    random: random.Random = field(default_factory=lambda: random.Random(1))
    expected: Expected = field(default_factory=lambda: Expected())
    open: list[tuple[str, str]] = field(default_factory=list)
    rewarded: set[str] = field(default_factory=set)
    of_rows: set[str] = field(default_factory=set)

    def add(self, arm: str, **counts: Any) -> None:
        self.expected[0, arm] = self.expected.get((0, arm), ArmStatistics()) + ArmStatistics(**counts)

    def answer(self, arm: str, rows: int = 1, latency: float = 3.0) -> str:
        request = prediction_id.new()
        log_predictions(
            self.log,
            SCHEMA,
            request,
            arm=arm,
            propensity=0.5,
            features=[[40] * rows],
            output=[1] * rows,
            latency_ms=latency,
            rollout_context=answer_context(self.rollout.id, 0),
        )
        self.add(arm, requests=1, rows=rows, latency={latency_cell(latency): 1})
        names = prediction_id.of_rows(request, rows)
        self.open += [(name, arm) for name in names]
        if rows > 1:
            self.of_rows.update(names)
        return request

    def fail(self, arm: str) -> None:
        self.log.failure(
            prediction_id.new(),
            model="churn",
            version=2,
            arm=arm,
            latency_ms=1.0,
            error="ZeroDivisionError",
            rollout_context=answer_context(self.rollout.id, 0),
        )
        self.add(arm, requests=1, errors=1)

    def reward(self, name: str, arm: str, value: float) -> None:
        self.log.feedback([(name, None, value)])
        if name not in self.rewarded:
            self.rewarded.add(name)
            cluster = cluster_of(None, name[:32])
            # The propensity of each answer is one half.
            weight = 2.0 if self.rollout.plan.weighs_rewards else 1.0
            self.add(
                arm,
                reward_count=1,
                reward_total=value,
                rewards_at_bounds=1,
                rewards_of_rows=int(name in self.of_rows),
                reward_clusters={cluster: (weight, weight * value)},
            )

    def some(self, count: int) -> None:
        """Answers, failures, rewards, rewards once more, and what belongs to no rollout."""
        for _ in range(count):
            kind, arm = self.random.random(), self.random.choice(["champion", "candidate"])
            if kind < 0.4:
                self.answer(arm, self.random.choice([1, 3]), self.random.choice([0.5, 3.0, 200.0]))
            elif kind < 0.5:
                self.fail(arm)
            elif kind < 0.6:
                log_predictions(
                    self.log,
                    SCHEMA,
                    prediction_id.new(),
                    arm="pinned",
                    propensity=1.0,
                    features=[[1]],
                    output=[1],
                    latency_ms=1.0,
                )
                self.log.feedback([(prediction_id.new(), "1")])
            elif self.open:
                self.reward(*self.random.choice(self.open), float(self.random.choice([0, 1])))


def opened(tmp_path: Path, **options: Any) -> WriteAhead:
    return WriteAhead(str(tmp_path / "write-ahead"), **options)


def started(store: RolloutStore, plan: RolloutPlan | None = None) -> Rollout:
    return store.start("churn", plan or bandit(), task())
