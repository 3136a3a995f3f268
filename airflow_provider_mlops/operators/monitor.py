"""The step `monitor` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.lifecycle.monitor.spec import MonitorResult, MonitorSpec
from airflow_provider_mlops.lifecycle.monitor.step import STEP
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context

    from airflow_provider_mlops.operators.arguments import MonitorArguments


class MonitorModelOperator(StepOperator[MonitorSpec, MonitorResult], step=STEP):
    """Compare logged predictions with the training data: drift, data quality and model performance."""

    ui_color = "#f6d5e5"

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[MonitorArguments]) -> None: ...

    @override
    def on_finished(self, context: Context, spec: MonitorSpec, result: MonitorResult) -> None:
        if result.verdict == "alarm" and spec.on_alarm == "skip":
            self.skip_downstream(context, result, "the monitor raised an alarm")
