"""Training with the real MLflow and scikit-learn: what is recorded, and how the model is served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from tests.helpers.training import LOGISTIC, numbers, people, plain_environment, spec_for, write
from tests.helpers.training import commit as commit
from tests.helpers.training import no_global_mlflow as no_global_mlflow


def a_profile(workspace: Workspace) -> str:
    """The URI of a profile of some rows."""
    from airflow_provider_mlops.data.profiling import profile

    return profile(write(workspace, people(), "profiled").table(), target="churned").write(
        workspace.uri("profiles", "profile.json")
    )


def test_training_records_all_of_it(workspace: Workspace, commit: str) -> None:
    table = people().drop(["spend"])
    spec = spec_for(
        workspace,
        table,
        target="churned",
        validation_dataset=write(workspace, people(60, 1).drop(["spend"]), "validation"),
        preprocessing=Preprocessing(),
        parameters={"C": 0.5},
        seed=7,
        profile_uri=a_profile(workspace),
        version_tags={"team": "growth"},
    )
    result = train(spec, workspace)
    assert result.model_uri == "models:/churn/1"
    assert result.metrics["accuracy"] > 0.9
    assert result.metrics["roc_auc"] > 0.9

    registry = workspace.registry()
    run = registry.client.get_run(result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert (
        run.data.params.items()
        >= {
            "estimator": LOGISTIC,
            "parameters.C": "0.5",
            "problem": "classification",
            "target": "churned",
            "seed": "7",
            "rows": "120",
        }.items()
    )
    assert run.data.metrics == pytest.approx(result.metrics)
    assert {(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs} == {
        ("rows", spec.dataset.fingerprint, "training"),
        ("validation", spec.validation_dataset.fingerprint, "validation"),  # type: ignore[union-attr]
    }
    source = json.loads(run.inputs.dataset_inputs[0].dataset.source)
    assert source["uri"].startswith(workspace.storage_uri)
    assert run.data.tags["mlops.version.scikit-learn"]
    assert run.data.tags["mlops.git_commit"] == run.data.tags["mlflow.source.git.commit"] == commit

    tags = models.tags(registry, result.model)
    assert (
        tags.items()
        >= {
            "mlops.dag_id": "churn",
            "mlops.run_id": workspace.task.run_id,
            "mlops.task_id": "step",
            "mlops.map_index": "-1",
            "mlops.owner": "ada",
            "mlops.data_fingerprint": spec.dataset.fingerprint,
            "mlops.profile_uri": workspace.uri("profiles", "profile.json"),
            "mlops.target": "churned",
            "mlops.problem": "classification",
            "mlops.seed": "7",
            "team": "growth",
        }.items()
    )
    assert tags["mlops.git_commit"] == commit
    assert models.metadata(registry, result.model) == {
        "problem": "classification",
        "target": "churned",
        "classes": ["no", "yes"],
    }
    (output,) = run.outputs.model_outputs
    logged = registry.client.get_logged_model(output.model_id)
    assert {metric.key for metric in logged.metrics} == set(result.metrics)


def test_the_signature_says_how_rows_look_and_labels_stay_strings(workspace: Workspace) -> None:
    spec = spec_for(workspace, people().drop(["spend"]), target="churned", preprocessing=Preprocessing())
    result = train(spec, workspace)
    registry = workspace.registry()
    signature = models.signature(registry, result.model)
    assert [(one.name, one.type.name) for one in signature.inputs.inputs] == [
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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/", env=plain_environment()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == list(expected)


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
    (said,) = [record.getMessage() for record in caplog.records if "ConvergenceWarning" in record.getMessage()]
    assert "\n" not in said
    assert "increase" in said.lower()


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


def test_the_fingerprint_of_the_data_is_what_the_version_says(workspace: Workspace, tmp_path: Path) -> None:
    spec = spec_for(workspace)
    result = train(spec, workspace)
    write(workspace, numbers(seed=5))
    with pytest.raises(InvalidSpecError, match="its content changed"):
        train(spec, workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "r2"})}))
    assert models.tags(workspace.registry(), result.model)["mlops.data_fingerprint"] == spec.dataset.fingerprint
