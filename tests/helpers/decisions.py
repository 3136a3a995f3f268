"""Specs and states of rollouts to decide about, for the tests of the decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAIR = {"champion": 1, "candidates": [2]}


def canary(**fields: Any) -> RolloutPlan:
    values = {
        **PAIR,
        "strategy": {"kind": "canary", "steps": [0.5, 1.0]},
        "gates": [{"kind": "error_rate", "margin": 0.05}],
        "bake_time": HOUR,
        "decision_timeout": 10 * HOUR,
        "min_requests": 100,
        **fields,
    }
    return RolloutPlan.model_validate(values)


def begun(plan: RolloutPlan, **fields: Any) -> RolloutState:
    return transitions.started(plan, NOW, "task").model_copy(update=fields)


AB = {
    "strategy": {"kind": "ab", "min_effect": 0.1, "baseline": 0.3},
    "gates": [{"kind": "metric"}],
    "reward": {"binary": True},
    "min_requests": 0,
    "bake_time": timedelta(0),
    "decision_timeout": timedelta(days=900),
}
