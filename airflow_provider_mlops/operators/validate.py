"""The step `validate` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, alias_moved
from airflow_provider_mlops.lifecycle.validate.spec import ValidateResult, ValidateSpec
from airflow_provider_mlops.lifecycle.validate.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink, ReportLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context

    from airflow_provider_mlops.operators.arguments import ValidateArguments


class ValidateModelOperator(StepOperator[ValidateSpec, ValidateResult], step=STEP):
    """Check an evaluated model version against gates and the champion.

    An approved version gets the alias `challenger`.
    """

    ui_color = "#fbd9c0"
    events = MODELS
    operator_extra_links = (ReportLink(), ModelVersionLink(), MlflowRunLink())

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[ValidateArguments]) -> None: ...

    @override
    def asset_updates(self, spec: ValidateSpec, result: ValidateResult) -> list[AssetUpdate]:
        if result.verdict != "approved":
            return []
        return [alias_moved(result.model.name, "challenger", None, result.model.version, {"verdict": result.verdict})]

    @override
    def on_finished(self, context: Context, spec: ValidateSpec, result: ValidateResult) -> None:
        if (result.verdict, "skip") in (("rejected", spec.on_reject), ("inconclusive", spec.on_inconclusive)):
            self.skip_downstream(context, result, f"the model is {result.verdict}")
