"""The default runtime: the task's own process."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.third_party_logs import quiet_third_party_loggers
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.telemetry import disable_telemetry
from airflow_provider_mlops.runtimes.runtime import Runtime


class InTaskRuntime(Runtime):
    """Runs the step in the process of the Airflow task.

    >>> InTaskRuntime()
    InTaskRuntime()
    """

    @override
    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        quiet_third_party_loggers()
        disable_telemetry()
        result: Result = step.run(spec, workspace)
        return result
