"""The task's own process: the default."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.third_party_logs import quiet_third_party_loggers
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.runtime import Runtime


class InTaskRuntime(Runtime):
    """Runs the step in the process of the Airflow task."""

    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        """Carry out the step here."""
        quiet_third_party_loggers()
        result: Result = step.run(spec, workspace)
        return result
