"""Which versions stay in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_provider_mlops.serving.models.served_model import WARM, ServedModel


def loaded(version: int) -> Any:
    return SimpleNamespace(version=SimpleNamespace(version=version))


def test_the_versions_of_a_rollout_are_not_let_go() -> None:
    model = ServedModel("churn")
    for version in range(1, 4):
        model.add(loaded(version))
    model.activate(1)
    model.kept = frozenset({2})
    for version in range(4, 12):
        model.add(loaded(version))
    assert len(model.versions) == WARM
    assert {1, 2, 11} <= model.versions.keys()
    model.kept = frozenset()
    model.add(loaded(12))
    assert 2 not in model.versions
