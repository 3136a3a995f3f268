"""Plans and states of rollouts: what is refused and why, JSON there and back, transitions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.rollouts import rollout, transitions
from airflow_provider_mlops.serving.rollouts.plan import algorithms, context_features, gates, reward, strategies
from airflow_provider_mlops.serving.rollouts.plan import config as terms
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIR: dict[str, Any] = {"champion": 1, "candidates": [2]}
REWARD = {"source": "correct"}
FEATURE = {"kind": "number", "name": "age"}
PLANS: dict[str, dict[str, Any]] = {
    "canary": PAIR,
    "canary by key": {**PAIR, "sticky": {"source": "field", "name": "user"}},
    "direct": {**PAIR, "strategy": {"kind": "direct"}, "gates": [{"kind": "error_rate", "max_rate": 0.01}]},
    "shadow": {**PAIR, "strategy": {"kind": "shadow"}, "gates": [{"kind": "agreement"}, {"kind": "latency"}]},
    "ab": {**PAIR, "strategy": {"kind": "ab"}, "gates": [{"kind": "metric"}], "reward": REWARD},
    "bandit": {"champion": 1, "candidates": [2, 3], "strategy": {"kind": "bandit"}, "reward": REWARD, "gates": []},
    "contextual": {
        **PAIR,
        "strategy": {"kind": "contextual_bandit", "features": [FEATURE]},
        "reward": REWARD,
        "gates": [],
    },
    "drift": {**PAIR, "gates": [{"kind": "drift", "classes": ["0", "1"]}]},
}


def canary(**fields: Any) -> RolloutPlan:
    return RolloutPlan.model_validate({**PAIR, **fields})


@pytest.mark.parametrize("name", PLANS)
def test_a_spec_survives_json(name: str) -> None:
    plan = RolloutPlan.model_validate_json(json.dumps(PLANS[name]))
    assert RolloutPlan.model_validate_json(plan.model_dump_json()) == plan
    state = transitions.started(plan, NOW, "a task")
    assert RolloutState.model_validate_json(state.model_dump_json()) == state
    assert [arm.version for arm in plan.arms] == [plan.champion, *plan.candidates]
    assert len({arm.name for arm in plan.arms}) == len(plan.arms)
    if state.weights is not None:
        assert sum(state.weights.values()) == 1
        assert state.weights.keys() == {arm.name for arm in plan.arms}
    with pytest.raises(ValidationError, match="frozen"):
        plan.champion = 7  # type: ignore[misc]


PLANNED: dict[str, Any] = {
    "strategy": {"kind": "ab", "min_effect": 0.4, "baseline": 0.3},
    "reward": {"binary": True},
    "gates": [{"kind": "metric"}],
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"candidates": [1]}, "differ from each other and from the champion"),
    ({"candidates": []}, "at least 1"),
    ({"candidates": [2, 3]}, "takes one candidate"),
    ({"strategy": {"kind": "canary", "steps": [0.5, 0.25]}}, "steps must be increasing"),
    ({"strategy": {"kind": "canary", "steps": [0.5, 1.5]}}, "steps must be increasing"),
    ({"strategy": {"kind": "bandit"}}, "need a reward"),
    ({"strategy": {"kind": "ab"}, "reward": REWARD}, "decided by a metric gate"),
    ({"strategy": {"kind": "ab", "min_effect": 0.1}}, "either baseline .* or std"),
    ({**PLANNED, "strategy": {"kind": "ab", "min_effect": 0.5, "baseline": 0.6}}, "rate of the candidate would be"),
    ({**PLANNED, "reward": {"binary": True, "greater_is_better": False}}, "rate of the candidate would be"),
    ({**PLANNED, "reward": {}}, "Set binary=True in the reward"),
    ({**PLANNED, "gates": [{"kind": "metric", "margin": 0.4}]}, "must exceed the margin"),
    (
        {**PLANNED, "strategy": {"kind": "ab", "min_effect": 0.1, "std": 0.2}, "reward": {}},
        "needs reward.expected_mean",
    ),
    ({"gates": [{"kind": "metric"}]}, "need a reward"),
    ({"gates": [{"kind": "agreement"}]}, "only the shadow strategy"),
    ({"gates": [{"kind": "drift"}]}, "either classes or edges"),
    ({"gates": [{"kind": "drift", "edges": [2, 1]}]}, "edges must increase"),
    ({"gates": [{"kind": "drift", "classes": ["a"]}] * 2}, "one drift gate"),
    ({"strategy": {"kind": "direct"}}, "Give error_rate gates a max_rate"),
    ({"strategy": {"kind": "shadow"}, "gates": [{"kind": "metric"}], "reward": REWARD}, "Remove the metric gate"),
    ({"strategy": {"kind": "shadow"}, "sticky": {}}, "canary and ab can be sticky"),
    ({"strategy": {"kind": "bandit"}, "reward": {"low": 0, "high": 2}}, "thompson_gaussian"),
    ({"reward": {"low": 0, "high": None}}, "low and high must be given together"),
    ({"reward": {"low": 1, "high": 0}}, "low must be less than high"),
    ({"reward": {"low": None, "high": None, "binary": True}}, "binary rewards need"),
    ({"reward": {"source": "correct", "high": 2}}, "is 0 or 1"),
    ({"reward": {"expected_mean": 2}}, "between low and high"),
    (
        {
            "strategy": {
                "kind": "contextual_bandit",
                "features": [{"kind": "category", "name": "place", "values": [str(n) for n in range(70)]}],
            },
            "reward": REWARD,
        },
        "at most 64",
    ),
    ({"bake_time": 60, "decision_timeout": 30}, "decision_timeout"),
    ({"strategy": {"kind": "blue"}}, "'direct', 'shadow', 'canary', 'ab', 'bandit', 'contextual_bandit'"),
    ({"bake": 1}, "Extra inputs"),
    # JSON knows no infinity: the store would hold what no gateway could read.
    ({"gates": [{"kind": "drift", "edges": [float("-inf"), 0.0]}]}, "gates.0.drift.edges.0\n.*finite number"),
    ({"strategy": {"kind": "shadow", "timeout_seconds": float("inf")}}, "timeout_seconds\n.*finite number"),
    ({"reward": {"high": float("inf")}}, "reward.high\n.*finite number"),
    ({"false_alarm_rate": 0}, "greater than 0"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        canary(**fields)


@pytest.mark.parametrize("module", [rollout, terms, gates, strategies, algorithms, reward, context_features])
def test_every_field_is_described(module: Any) -> None:
    models = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    ]
    assert models
    for model in models:
        for name, field in model.model_fields.items():
            assert name == "kind" or (field.description or "").strip().endswith((".", "`")), f"{model.__name__}.{name}"


def test_the_transitions_of_a_canary() -> None:
    plan = canary(strategy={"kind": "canary", "steps": [0.1, 1.0]})
    state = transitions.started(plan, NOW, "task")
    assert (state.status, state.step, state.weights) == ("running", 0, {"champion": 0.9, "candidate": 0.1})
    later = NOW + timedelta(minutes=5)
    held = transitions.held(state, later, "task", "too few requests")
    assert (held.status, held.weights, held.step_started_at) == ("held", state.weights, NOW)
    patient = transitions.extended(held, later, "ada", "more time")
    assert (patient.status, patient.extensions, patient.waiting_since) == ("running", 1, later)
    assert patient.step_started_at == NOW
    gone = transitions.superseded(held, 7, later, "task", "version 7 is champion")
    assert (gone.status, gone.version, gone.blocks_new_rollout) == ("ended", 7, False)
    agreed = transitions.approved(held, later, "ada", "looks fine")
    assert (agreed.status, agreed.approved, agreed.changed_by) == ("running", True, "ada")
    second = transitions.next_step(plan, agreed, later, "task", "all gates passed")
    assert (second.step, second.weights, second.approved) == (1, {"champion": 0.0, "candidate": 1.0}, False)
    with pytest.raises(ValueError, match="no step after step 2"):
        transitions.next_step(plan, second, later, "task", "")
    done = transitions.promoted(plan, second, 2, later, "task", "passed")
    assert (done.version, done.is_in_progress, done.blocks_new_rollout) == (2, False, True)
    task = TaskIdentity(dag_id="churn", run_id="r1", task_id="rollout", try_number=2)
    settled = transitions.settled(done, later, task)
    assert (settled.blocks_new_rollout, settled.changed_by, settled.settled_in_try) == (False, task.key, 2)
    back = transitions.rolled_back(plan, second, later, "gateway", "errors")
    assert (back.version, back.weights, back.blocks_new_rollout) == (1, {"champion": 1.0, "candidate": 0.0}, False)
    for state in (done, back):
        with pytest.raises(ValueError, match="already over"):
            transitions.rolled_back(plan, state, later, "gateway", "errors")


@given(value=st.floats(), low=st.floats(-10, 0), width=st.floats(0.1, 10), binary=st.booleans())
def test_rewards_stay_within_their_bounds(value: float, low: float, width: float, binary: bool) -> None:
    declared = Reward(low=low, high=low + width, binary=binary)
    found = declared.clip(value)
    if found is not None:
        assert found in (declared.low, declared.high) if binary else low <= found <= low + width
        assert declared.clip(found) == found
    assert (found is None) == (value != value or value in (float("inf"), float("-inf")))
