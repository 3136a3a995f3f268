"""The step `tune` as an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, version_made
from airflow_provider_mlops.lifecycle.tune.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator


class TuneModelOperator(StepOperator, step=STEP):
    """Search an estimator's parameters with Optuna, then train and register the best."""

    ui_color = "#e2d3f9"
    events = MODELS
    operator_extra_links = (ModelVersionLink(), MlflowRunLink())

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The registered version, if this task trained one."""
        if result.model is None:
            return []
        metrics = {f"metrics.{name}": value for name, value in result.metrics.items()}
        return [version_made(result.model, {"data_fingerprint": spec.dataset.fingerprint, **metrics})]
