"""The step `rollback` as an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed
from airflow_provider_mlops.lifecycle.rollback.step import STEP
from airflow_provider_mlops.operators.step import StepOperator


class RollbackModelOperator(StepOperator, step=STEP):
    """Give all traffic back to the version that was the champion before, or to one that is named."""

    ui_color = "#f7c8c8"
    events = MODELS

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The champion has moved, and with it `previous`."""
        return deployed(result.deployment, spec.reason)
