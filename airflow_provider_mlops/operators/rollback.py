"""The step `rollback` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed
from airflow_provider_mlops.lifecycle.rollback.spec import RollbackResult, RollbackSpec
from airflow_provider_mlops.lifecycle.rollback.step import STEP
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import RollbackArguments


class RollbackModelOperator(StepOperator[RollbackSpec, RollbackResult], step=STEP):
    """Return all traffic to the previous champion, or to a version that you name."""

    ui_color = "#f7c8c8"
    events = MODELS

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[RollbackArguments]) -> None: ...

    @override
    def asset_updates(self, spec: RollbackSpec, result: RollbackResult) -> list[AssetUpdate]:
        return deployed(result.deployment, spec.reason)
