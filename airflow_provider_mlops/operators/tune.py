"""The step `tune` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, version_made
from airflow_provider_mlops.lifecycle.tune.spec import TuneResult, TuneSpec
from airflow_provider_mlops.lifecycle.tune.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import TuneArguments


class TuneModelOperator(StepOperator[TuneSpec, TuneResult], step=STEP):
    """Search an estimator's parameters with Optuna, then train and register the best one."""

    ui_color = "#e2d3f9"
    events = MODELS
    operator_extra_links = (ModelVersionLink(), MlflowRunLink())

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[TuneArguments]) -> None: ...

    @override
    def asset_updates(self, spec: TuneSpec, result: TuneResult) -> list[AssetUpdate]:
        if result.model is None:
            return []
        metrics = {f"metrics.{name}": value for name, value in result.metrics.items()}
        return [version_made(result.model, {"data_fingerprint": spec.dataset.fingerprint, **metrics})]
