"""Training with the real MLflow and scikit-learn: what is recorded, and how the model is served."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.train.spec import TrainResult, TrainSpec
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from tests.helpers.training import LOGISTIC, numbers, people, plain_environment, spec_for, write


@dataclass(frozen=True)
class Training:
    """A training with all fields set, and what MLflow has of it."""

    workspace: Workspace
    spec: TrainSpec
    result: TrainResult

    @property
    def run(self) -> Any:
        return self.workspace.registry().client.get_run(self.result.mlflow_run_id)

    @property
    def tags(self) -> dict[str, str]:
        return models.tags(self.workspace.registry(), self.result.model)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Training:
    """One training that several tests look at."""
    directory = tmp_path_factory.mktemp("training")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", owner="ada")
    workspace = Workspace(storage_uri=str(directory), task=task)
    profile_uri = workspace.uri("profiles", "profile.json")
    profile(write(workspace, people(), "profiled").table(), target="churned").write(profile_uri)
    spec = spec_for(
        workspace,
        people().drop(["spend"]),
        target="churned",
        validation_dataset=write(workspace, people(60, 1).drop(["spend"]), "validation"),
        preprocessing=Preprocessing(),
        parameters={"C": 0.5},
        seed=7,
        profile_uri=profile_uri,
        version_tags={"team": "growth"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT", "c0ffee")
        return Training(workspace, spec, train(spec, workspace))


def test_training_registers_a_model_that_predicts_the_validation_rows(training: Training) -> None:
    assert training.result.model_uri == "models:/churn/1"
    assert training.result.metrics["accuracy"] > 0.9
    assert training.result.metrics["roc_auc"] > 0.9


def test_the_run_has_parameters_and_metrics(training: Training) -> None:
    run = training.run
    assert run.info.status == "FINISHED"
    assert run.data.metrics == pytest.approx(training.result.metrics)
    expected = {
        "estimator": LOGISTIC,
        "parameters.C": "0.5",
        "problem": "classification",
        "target": "churned",
        "seed": "7",
        "rows": "120",
    }
    assert run.data.params.items() >= expected.items()


def test_the_run_names_its_datasets(training: Training) -> None:
    spec, inputs = training.spec, training.run.inputs.dataset_inputs
    assert spec.validation_dataset is not None
    assert {(used.dataset.name, used.dataset.digest, used.tags[0].value) for used in inputs} == {
        ("rows", spec.dataset.fingerprint, "training"),
        ("validation", spec.validation_dataset.fingerprint, "validation"),
    }
    assert json.loads(inputs[0].dataset.source)["uri"].startswith(training.workspace.storage_uri)


def test_the_run_names_the_commit_and_the_package_versions(training: Training) -> None:
    tags = training.run.data.tags
    assert tags["mlops.version.scikit-learn"]
    assert tags["mlops.git_commit"] == tags["mlflow.source.git.commit"] == "c0ffee"


def test_the_version_has_tags_with_its_origin(training: Training) -> None:
    expected = {
        "mlops.dag_id": "churn",
        "mlops.run_id": "manual__1",
        "mlops.task_id": "train",
        "mlops.map_index": "-1",
        "mlops.owner": "ada",
        "mlops.data_fingerprint": training.spec.dataset.fingerprint,
        "mlops.profile_uri": training.workspace.uri("profiles", "profile.json"),
        "mlops.target": "churned",
        "mlops.problem": "classification",
        "mlops.seed": "7",
        "mlops.git_commit": "c0ffee",
        "team": "growth",
    }
    assert training.tags.items() >= expected.items()


def test_the_model_has_metadata_and_its_metrics(training: Training) -> None:
    registry = training.workspace.registry()
    assert models.metadata(registry, training.result.model) == {
        "problem": "classification",
        "target": "churned",
        "classes": ["no", "yes"],
    }
    (output,) = training.run.outputs.model_outputs
    logged = registry.client.get_logged_model(output.model_id)
    assert {metric.key for metric in logged.metrics} == set(training.result.metrics)


def test_the_signature_describes_the_rows_and_labels_stay_strings(workspace: Workspace) -> None:
    spec = spec_for(workspace, people().drop(["spend"]), target="churned", preprocessing=Preprocessing())
    result = train(spec, workspace)
    registry = workspace.registry()
    signature = models.signature(registry, result.model)
    assert [(column.name, column.type.name) for column in signature.inputs.inputs] == [
        ("age", "double"),
        ("town", "string"),
        ("member", "boolean"),
        ("income", "double"),
    ]
    assert signature.outputs.inputs[0].type.name == "string"
    model = models.load(registry, result.model)
    example = models.input_example(registry, result.model)
    assert not example.isna().any().any()
    assert list(model.classes_) == ["no", "yes"]
    assert set(model.predict(example)) <= {"no", "yes"}
    numpy.testing.assert_allclose(model.predict_proba(example).sum(axis=1), 1)
    assert all(name.startswith("train_") for name in result.metrics)


def test_plain_mlflow_serves_the_model_as_trained(workspace: Workspace) -> None:
    spec = spec_for(workspace, people().drop(["spend"]), target="churned", preprocessing=Preprocessing())
    result = train(spec, workspace)
    registry = workspace.registry()
    rows = pandas.DataFrame(
        {"age": [30.0, None], "town": ["Rome", None], "member": [True, False], "income": [90.0, None]}
    )
    expected = models.load(registry, result.model).predict(rows)
    script = f"""
import json, mlflow
mlflow.set_tracking_uri({registry.tracking_uri!r})
from mlflow.models import validate_serving_input
rows = [{{"age": 30, "town": "Rome", "member": True, "income": 90}},
        {{"age": None, "town": None, "member": False, "income": None}}]
answer = validate_serving_input({result.model_uri!r}, json.dumps({{"dataframe_records": rows}}))
print(json.dumps(list(answer)))
"""
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/", env=plain_environment()
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == list(expected)


def test_regression_is_inferred_and_measured(workspace: Workspace) -> None:
    spec = spec_for(
        workspace,
        people().drop(["churned"]),
        target="spend",
        estimator="sklearn.ensemble.RandomForestRegressor",
        parameters={"n_estimators": 20},
        preprocessing=Preprocessing(),
    )
    result = train(spec, workspace)
    assert result.metrics["train_r2"] > 0.8
    assert models.tags(workspace.registry(), result.model)["mlops.problem"] == "regression"


def test_a_warning_of_a_library_is_one_line_of_the_log(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    train(spec_for(workspace, parameters={"max_iter": 1}), workspace)
    (message,) = [record.getMessage() for record in caplog.records if "ConvergenceWarning" in record.getMessage()]
    assert "\n" not in message
    assert "increase" in message.lower()


def test_the_seed_decides_the_model(workspace: Workspace) -> None:
    def probabilities(seed: int, name: str) -> Any:
        spec = spec_for(
            workspace,
            estimator="sklearn.ensemble.RandomForestClassifier",
            parameters={"n_estimators": 5},
            seed=seed,
            model_name=name,
        )
        task = workspace.task.model_copy(update={"task_id": name})
        result = train(spec, workspace.model_copy(update={"task": task}))
        model = models.load(workspace.registry(), result.model)
        return model.predict_proba(pandas.DataFrame({"a": numpy.linspace(-1, 1, 40), "b": numpy.zeros(40)}))

    first, again, other = probabilities(1, "one"), probabilities(1, "again"), probabilities(2, "other")
    numpy.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_requirements_that_pip_reads_by_itself_are_let_through(workspace: Workspace) -> None:
    requirements = ("scikit-learn", "--extra-index-url=https://example.com/simple", "pkg @ https://example.com/p.whl")
    assert train(spec_for(workspace, pip_requirements=requirements), workspace).model.version == 1


def test_validation_rows_may_have_a_column_without_values(workspace: Workspace) -> None:
    table = people().drop(["spend"])
    nothing = table.set_column(1, "town", pyarrow.nulls(table.num_rows))
    spec = spec_for(
        workspace,
        table,
        target="churned",
        preprocessing=Preprocessing(),
        validation_dataset=write(workspace, nothing, "validation"),
    )
    assert 0 < train(spec, workspace).metrics["accuracy"] <= 1


def test_the_version_has_the_fingerprint_of_the_data_it_was_trained_on(workspace: Workspace, tmp_path: Path) -> None:
    spec = spec_for(workspace)
    result = train(spec, workspace)
    write(workspace, numbers(seed=5))
    with pytest.raises(InvalidSpecError, match="its content changed"):
        train(spec, workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "r2"})}))
    assert models.tags(workspace.registry(), result.model)["mlops.data_fingerprint"] == spec.dataset.fingerprint
