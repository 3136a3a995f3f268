"""The step `train` as an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, version_made
from airflow_provider_mlops.lifecycle.train.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator


class TrainModelOperator(StepOperator, step=STEP):
    """Train a scikit-learn estimator or the user's own code and register one model version."""

    ui_color = "#e9defa"
    events = MODELS
    operator_extra_links = (ModelVersionLink(), MlflowRunLink())

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The registered version."""
        metrics = {f"metrics.{name}": value for name, value in result.metrics.items()}
        return [version_made(result.model, {"data_fingerprint": spec.dataset.fingerprint, **metrics})]
