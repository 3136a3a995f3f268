"""The step `monitor` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

from airflow_provider_mlops.lifecycle.monitor.step import STEP
from airflow_provider_mlops.operators.step import StepOperator


class MonitorModelOperator(StepOperator, step=STEP):
    """Compare what the gateway has answered with what the model was trained on: drift, quality, performance."""

    ui_color = "#f6d5e5"

    def on_finished(self, context: Context, outcome: dict[str, Any]) -> None:
        """Skip what comes after an alarm, if `on_alarm` says so."""
        spec: Any = self.spec()
        if outcome["verdict"] == "alarm" and spec.on_alarm == "skip":
            self.skip_downstream(context, outcome, "the monitor has raised an alarm")
