"""The step `train` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, version_made
from airflow_provider_mlops.lifecycle.train.spec import TrainResult, TrainSpec
from airflow_provider_mlops.lifecycle.train.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import TrainArguments


class TrainModelOperator(StepOperator[TrainSpec, TrainResult], step=STEP):
    """Train a scikit-learn estimator, or a model from your own code, and register it as one model version."""

    ui_color = "#e9defa"
    events = MODELS
    operator_extra_links = (ModelVersionLink(), MlflowRunLink())

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[TrainArguments]) -> None: ...

    @override
    def asset_updates(self, spec: TrainSpec, result: TrainResult) -> list[AssetUpdate]:
        metrics = {f"metrics.{name}": value for name, value in result.metrics.items()}
        return [version_made(result.model, {"data_fingerprint": spec.dataset.fingerprint, **metrics})]
