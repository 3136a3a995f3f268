"""The step `deploy` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed
from airflow_provider_mlops.lifecycle.deploy.spec import DeployResult, DeploySpec
from airflow_provider_mlops.lifecycle.deploy.step import STEP
from airflow_provider_mlops.links.step import ModelVersionLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import DeployArguments


class DeployModelOperator(StepOperator[DeploySpec, DeployResult], step=STEP):
    """Deploy a model version to the gateway.

    The alias `champion` moves once the endpoint returns the same predictions as the model.
    """

    ui_color = "#c9efe4"
    events = MODELS
    operator_extra_links = (ModelVersionLink(),)

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[DeployArguments]) -> None: ...

    @override
    def asset_updates(self, spec: DeploySpec, result: DeployResult) -> list[AssetUpdate]:
        return deployed(result.deployment, spec.reason)
