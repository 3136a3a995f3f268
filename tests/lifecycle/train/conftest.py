"""The surroundings of every test of the train step."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_global_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point MLflow's global settings nowhere, because a step must not use them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://global")


@pytest.fixture(autouse=True)
def commit(monkeypatch: pytest.MonkeyPatch) -> str:
    """Fix the commit of the code, which must not change during a test."""
    monkeypatch.setenv("AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT", "c0ffee")
    return "c0ffee"
