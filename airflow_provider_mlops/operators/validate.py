"""The step `validate` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, alias_moved
from airflow_provider_mlops.lifecycle.validate.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink, ReportLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateModelOperator(StepOperator, step=STEP):
    """Hold an evaluated model version against gates and the champion. Approval sets the alias `challenger`."""

    ui_color = "#fbd9c0"
    events = MODELS
    operator_extra_links = (ReportLink(), ModelVersionLink(), MlflowRunLink())

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """An approved version becomes the challenger."""
        if result.verdict != "approved":
            return []
        return [alias_moved(result.model.name, "challenger", None, result.model.version, {"verdict": result.verdict})]

    def on_finished(self, context: Context, outcome: dict[str, Any]) -> None:
        """Skip what comes after a version that was not approved, if the spec says so."""
        spec: Any = self.spec()
        verdict = outcome["verdict"]
        if (verdict, "skip") in (("rejected", spec.on_reject), ("inconclusive", spec.on_inconclusive)):
            self.skip_downstream(context, outcome, f"the model is {verdict}")
