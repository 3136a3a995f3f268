"""Rollouts for tests of the store and of what stands on it."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan


def task(run: str = "run-1", **fields: Any) -> TaskIdentity:
    return TaskIdentity(dag_id="churn", run_id=run, task_id="rollout", owner="ada", **fields)


def canary(**fields: Any) -> RolloutPlan:
    return RolloutPlan.model_validate({"champion": 1, "candidates": [2], **fields})


def bandit(**fields: Any) -> RolloutPlan:
    return canary(**{"strategy": {"kind": "bandit"}, "reward": {"binary": True}, "gates": [], **fields})
