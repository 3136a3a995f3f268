"""Nothing in the registry may use MLflow's global settings, so here they lead nowhere."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_global_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for the tracking URI of the process fails at once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://global")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "nowhere://global")
