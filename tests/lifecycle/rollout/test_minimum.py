"""Whose requests count towards the minimum of a step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from airflow_provider_mlops.lifecycle.rollout.decision import decide
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from tests.helpers.rewards import rewarded
from tests.helpers.rollouts import bandit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decided(plan: RolloutPlan, **arms: ArmStatistics) -> tuple[str, str]:
    found = Evidence(total=arms, step=arms)
    decision = decide(plan, transitions.started(plan, NOW, "task"), found, NOW + timedelta(hours=1))
    return decision.action, decision.reason


def test_of_several_versions_it_is_the_one_to_be_promoted() -> None:
    plan = bandit(candidates=[2, 3], min_requests=100)

    def earned(requests: int, rate: float) -> ArmStatistics:
        return rewarded(np.arange(requests) < rate * requests, requests=requests)

    known = {"champion": earned(500, 0.1), "candidate_2": earned(500, 0.1)}
    few = decided(plan, **known, candidate_3=earned(60, 0.9))
    assert few[0] == "wait"
    assert few[1].startswith("too few requests in this step: 60 of at least 100"), few[1]
    assert decided(plan, **known, candidate_3=earned(400, 0.9))[0] == "promote"
