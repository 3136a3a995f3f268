"""The step `deploy` as an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed
from airflow_provider_mlops.lifecycle.deploy.step import STEP
from airflow_provider_mlops.links.step import ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator


class DeployModelOperator(StepOperator, step=STEP):
    """Put a model version behind the gateway. `champion` moves once the endpoint answers as the model does."""

    ui_color = "#c9efe4"
    events = MODELS
    operator_extra_links = (ModelVersionLink(),)

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The champion has moved, and with it `previous`."""
        return deployed(result.deployment, spec.reason)
