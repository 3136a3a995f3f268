"""What does not go together in a rollout is refused with the field that is to be changed, its value and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.step import STEP

MODEL = {"name": "churn", "version": 2, "run_id": ""}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"strategy": "bandit"}, "reward", "reward=None: bandits, A/B tests and metric gates need a reward"),
    ({"strategy": "ab", "reward": {}, "gates": []}, "gates", "gates=[]: an A/B test is decided by a metric"),
    ({"strategy": "shadow", "sticky": {}}, "sticky", "sticky={}: only the strategies canary and ab can be sticky"),
    (
        {"bake_time": 100, "decision_timeout": 10},
        "decision_timeout",
        "decision_timeout=10: decision_timeout must be at least bake_time",
    ),
    ({"candidates": [{**MODEL, "name": "other"}]}, "candidates", "versions of the model 'churn'"),
    ({"candidates": [{**MODEL, "version": 3}]}, "candidates", "the strategy canary compares only one version"),
]


@pytest.mark.parametrize(("fields", "field", "message"), REFUSED)
def test_the_field_that_is_to_be_changed_is_named(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        STEP.parse({"model": MODEL, **fields})
    assert refused.value.field == field
    assert message in str(refused.value)
