"""Training again: a retry, another spec, another run, and what a kill at any point leaves."""

from __future__ import annotations

import signal
import subprocess
import sys

import pandas
import pytest

from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from tests.helpers.training import runs, spec_for, versions


def test_training_twice_leaves_one_run_and_one_version(workspace: Workspace) -> None:
    spec = spec_for(workspace)
    first = train(spec, workspace)
    again = train(spec, workspace.model_copy(update={"task": workspace.task.model_copy(update={"try_number": 2})}))
    assert again == first
    assert len(runs(workspace)) == 1
    assert [int(version.version) for version in versions(workspace)] == [1]


def test_another_spec_under_the_same_task_replaces_the_version(workspace: Workspace) -> None:
    train(spec_for(workspace), workspace)
    result = train(spec_for(workspace, parameters={"C": 0.1}), workspace)
    assert [int(version.version) for version in versions(workspace)] == [result.model.version]
    (run,) = runs(workspace)
    assert run.data.params["parameters.C"] == "0.1"
    assert models.load(workspace.registry(), result.model).steps[-1][1].C == 0.1


def test_a_version_in_use_and_its_run_outlive_another_spec(workspace: Workspace) -> None:
    first = train(spec_for(workspace), workspace)
    client = workspace.registry().client
    client.set_registered_model_alias("churn", "champion", "1")
    second = train(spec_for(workspace, parameters={"C": 0.1}), workspace)
    assert sorted(int(version.version) for version in versions(workspace)) == [1, second.model.version]
    assert {run.info.run_id: run.info.status for run in runs(workspace)} == {
        first.mlflow_run_id: "FINISHED",
        second.mlflow_run_id: "FINISHED",
    }
    assert models.load(workspace.registry(), first.model).steps[-1][1].C == 1.0


def test_another_run_of_the_dag_makes_another_version(workspace: Workspace) -> None:
    spec = spec_for(workspace)
    train(spec, workspace)
    later = workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "r2"})})
    assert train(spec, later).model.version == 2
    assert len(versions(workspace)) == 2


_KILLED = """
import os, signal, sys
from airflow_provider_mlops.lifecycle.train import fitting
from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import guard, registration
point = sys.argv[1]
def kill(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)
def after(function):
    def wrapped(*arguments, **keywords):
        function(*arguments, **keywords)
        kill()
    return wrapped
if point == "before fit":
    fitting.fit = kill
elif point == "after fit":
    fitting.fit = after(fitting.fit)
elif point == "after the model's files":
    registration.log_model = after(registration.log_model)
elif point == "after the version":
    registration.register = after(registration.register)
else:
    plain = guard.GuardedClient.__getattr__
    def deadly(self, name):
        method = plain(self, name)
        return after(method) if name == point else method
    guard.GuardedClient.__getattr__ = deadly
train(TrainSpec.model_validate_json(sys.argv[2]), Workspace.model_validate_json(sys.argv[3]))
"""


@pytest.mark.parametrize(
    "point",
    [
        "create_run",
        "before fit",
        "create_logged_model",
        "log_model_artifacts",
        "after the model's files",
        "create_model_version",
        "after the version",
        "set_terminated",
    ],
)
def test_a_kill_at_any_point_and_a_retry_leave_one_run_and_one_version(workspace: Workspace, point: str) -> None:
    spec = spec_for(workspace)
    arguments = [sys.executable, "-c", _KILLED, point, spec.model_dump_json(), workspace.model_dump_json()]
    process = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert process.returncode == -signal.SIGKILL, process.stderr
    retry = workspace.model_copy(update={"task": workspace.task.model_copy(update={"try_number": 2})})
    result = train(spec, retry)
    (run,) = runs(workspace)
    assert (run.info.run_id, run.info.status) == (result.mlflow_run_id, "FINISHED")
    (version,) = versions(workspace)
    assert int(version.version) == result.model.version
    assert result.metrics == run.data.metrics
    client = workspace.registry().client
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    loaded = models.load(workspace.registry(), result.model)
    assert loaded.predict(pandas.DataFrame({"a": [2.0], "b": [0.0]})) == [1]
