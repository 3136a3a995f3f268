"""The runtime in the task's own process."""

from __future__ import annotations

import os
from typing import Any

import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.prepare import step as prepare
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.in_task import InTaskRuntime

processes: list[int] = []


def features(table: Any) -> Any:
    processes.append(os.getpid())
    return table


def test_the_step_runs_here(dataset: Dataset, workspace: Workspace) -> None:
    runtime = InTaskRuntime()
    spec = prepare.STEP.parse({"dataset": dataset, "target": "target", "features": features})
    result = runtime.run(prepare.STEP, spec, workspace)
    assert isinstance(result, prepare.PrepareResult)
    assert processes == [os.getpid()]
    runtime.kill()
    assert repr(runtime) == "InTaskRuntime()"


def test_errors_are_the_steps_own(dataset: Dataset, workspace: Workspace) -> None:
    spec = prepare.STEP.parse({"dataset": dataset, "target": "nothing"})
    with pytest.raises(InvalidSpecError, match="target='nothing': it must be a column"):
        InTaskRuntime().run(prepare.STEP, spec, workspace)
