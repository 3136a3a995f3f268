"""Training with the real MLflow and scikit-learn: what is recorded, what is refused, and what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from airflow_provider_mlops.data.dataset import Dataset, DatasetWriter
from airflow_provider_mlops.errors import BackendAwayError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.train import TrainResult, TrainSpec, train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models

LOGISTIC = "sklearn.linear_model.LogisticRegression"


@pytest.fixture(autouse=True)
def no_global_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step must not use MLflow's global settings, so here they lead nowhere."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://global")


@pytest.fixture(autouse=True)
def commit(monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit of the code, which another commit made during the tests must not change."""
    monkeypatch.setenv("AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT", "c0ffee")
    return "c0ffee"


def write(workspace: Workspace, table: pyarrow.Table, name: str = "rows") -> Dataset:
    """A dataset of the rows."""
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(table)
        return writer.commit()


def people(count: int = 120, seed: int = 0) -> pyarrow.Table:
    """Rows with every kind of column, each with nulls where its type can have them."""
    generator = numpy.random.default_rng(seed)
    age = generator.integers(18, 80, count)
    town = numpy.array(["Rome", "Oslo", "Lima"], dtype=object)[generator.integers(0, 3, count)]
    return pyarrow.table(
        {
            "age": pyarrow.array([None if index % 11 == 3 else int(value) for index, value in enumerate(age)]),
            "town": pyarrow.array([None if index % 13 == 5 else str(value) for index, value in enumerate(town)]),
            "member": pyarrow.array((generator.random(count) > 0.5).tolist()),
            "income": pyarrow.array(generator.normal(100, 20, count)),
            "churned": pyarrow.array(["yes" if value else "no" for value in age > 45]),
            "spend": pyarrow.array(age * 2.0 + generator.normal(0, 1, count)),
        }
    )


def numbers(count: int = 120, seed: int = 0) -> pyarrow.Table:
    """Two numeric features and a class."""
    generator = numpy.random.default_rng(seed)
    features = generator.normal(size=(count, 2))
    return pyarrow.table({"a": features[:, 0], "b": features[:, 1], "label": (features[:, 0] > 0).astype(int)})


def a_profile(workspace: Workspace) -> str:
    """The URI of a profile of some rows."""
    from airflow_provider_mlops.data.profiling import profile

    return profile(write(workspace, people(), "profiled").table(), target="churned").write(
        workspace.uri("profiles", "profile.json")
    )


def spec_for(workspace: Workspace, table: pyarrow.Table | None = None, **fields: Any) -> TrainSpec:
    """A spec for the rows that differs in the given fields."""
    defaults: dict[str, Any] = {
        "dataset": write(workspace, numbers() if table is None else table),
        "target": "label",
        "model_name": "churn",
    }
    if "code" not in fields:
        defaults["estimator"] = LOGISTIC
    return TrainSpec(**{**defaults, **fields})


def versions(workspace: Workspace, name: str = "churn") -> list[Any]:
    return list(workspace.registry().client.search_model_versions(f"name = '{name}'"))


def runs(workspace: Workspace) -> list[Any]:
    registry = workspace.registry()
    return list(registry.client.search_runs([registry.experiment(workspace.task.dag_id)]))


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
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/", env=_environment()
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


def build_ridge(features: Any, target: Any, parameters: Any, seed: int, problem: str) -> Any:
    from sklearn.linear_model import RidgeClassifier

    assert list(features.columns) == ["a", "b"]
    assert len(target) == len(features)
    assert problem == "classification"
    return RidgeClassifier(random_state=seed, **parameters)


def build_fitted(features: Any, target: Any) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=2).fit(features, target)


def test_user_code_returns_an_unfitted_estimator(workspace: Workspace) -> None:
    result = train(spec_for(workspace, code=build_ridge, parameters={"alpha": 2.0}), workspace)
    model = models.load(workspace.registry(), result.model)
    assert model.steps[-1][1].alpha == 2.0
    assert "train_roc_auc" not in result.metrics


def test_user_code_may_fit_by_itself_but_not_beside_preprocessing(workspace: Workspace) -> None:
    result = train(spec_for(workspace, code=build_fitted), workspace)
    assert models.load(workspace.registry(), result.model).steps[-1][1].max_depth == 2
    with pytest.raises(InvalidSpecError, match="leave preprocessing out"):
        train(spec_for(workspace, code=build_fitted, preprocessing=Preprocessing()), workspace)


def build_nothing(features: Any) -> Any:
    return {}


def build_horizon(horizon: int) -> Any:
    return horizon


def build_a_class() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression


def build_homemade() -> Any:
    return Homemade()


def test_user_code_that_returns_no_estimator(workspace: Workspace) -> None:
    with pytest.raises(InvalidSpecError, match="returned dict': return an object with fit and predict"):
        train(spec_for(workspace, code=build_nothing), workspace)


def _with(column: str, values: list[Any]) -> pyarrow.Table:
    table = numbers(len(values))
    return table.set_column(table.column_names.index(column), column, pyarrow.array(values))


@pytest.mark.parametrize(
    ("table", "fields", "error", "message"),
    [
        (_with("label", [0.0, 1.0, float("nan"), None]), {}, RejectedError, r"'label': 2 of 4 rows have no value"),
        (_with("label", [None, "yes", "no", "yes"]), {}, RejectedError, r"1 of 4 rows.*filters="),
        (_with("label", [1, 1, 1, 1]), {}, RejectedError, r"all 4 rows are of the class 1"),
        (_with("label", [0.5, 1.5, 2.0, 1.0]), {"problem": "classification"}, InvalidSpecError, "0.5 is none"),
        (
            _with("label", ["x", "y", "x", "y"]),
            {"estimator": "sklearn.linear_model.Ridge"},
            InvalidSpecError,
            "regression needs numbers",
        ),
        (
            _with("label", [1.0, float("inf"), 2.0, 3.5]),
            {"estimator": "sklearn.linear_model.Ridge"},
            RejectedError,
            "1 of 4 values are infinite",
        ),
        (numbers().slice(0, 0), {}, RejectedError, "has no rows"),
        (numbers().select(["label"]), {}, InvalidSpecError, "no column beside the target"),
        (
            numbers(),
            {"target": "lable"},
            InvalidSpecError,
            "target='lable': name one of the columns of rows: a, b, label",
        ),
        (numbers(), {"estimator": "sklearn.nowhere.Model"}, InvalidSpecError, "module cannot be imported"),
        (numbers(), {"estimator": "sklearn.linear_model.Nobody"}, InvalidSpecError, "has no Nobody"),
        (numbers(), {"estimator": "os.system"}, InvalidSpecError, "name a class with fit and predict"),
        (numbers(), {"estimator": "sklearn.preprocessing.StandardScaler"}, InvalidSpecError, "it has no predict"),
        (
            numbers(),
            {"parameters": {"max_itre": 3}},
            InvalidSpecError,
            "parameters='max_itre'.*did you mean 'max_iter'",
        ),
        (numbers(), {"parameters": {"C": -1}}, InvalidSpecError, "'C' parameter"),
        (numbers(), {"parameters": {"C": "much"}}, InvalidSpecError, "'C' parameter"),
        (numbers(), {"problem": "regression"}, InvalidSpecError, "is for classification"),
        (
            people().drop(["spend"]),
            {"target": "churned"},
            InvalidSpecError,
            "could not convert string to float.*set preprocessing",
        ),
        (numbers(), {"model_name": "a/b"}, InvalidSpecError, "model_name='a/b'"),
        (
            _with("a", [1.0, float("inf"), 2.0, 3.5]),
            {"preprocessing": {}},
            RejectedError,
            r"the columns \['a'\] have infinite values",
        ),
        (numbers(), {"code": build_horizon}, InvalidSpecError, r"^code='.*build_horizon': it requires horizon"),
        (numbers(), {"code": "nowhere:build"}, InvalidSpecError, "^code='nowhere:build': the module cannot be"),
        (
            numbers(),
            {"code": build_a_class},
            InvalidSpecError,
            "the class LogisticRegression itself': return an object",
        ),
        (numbers(), {"pip_requirements": ["scikit-learn =="]}, InvalidSpecError, "^pip_requirements='scikit-learn =='"),
        (numbers(), {"profile_uri": "/nowhere.json"}, InvalidSpecError, "^profile_uri='/nowhere.json': nothing lies"),
        (numbers(), {"estimator": "sklearn..Model"}, InvalidSpecError, "^estimator='sklearn..Model': .*no import path"),
    ],
)
def test_what_cannot_be_trained_says_why_and_leaves_no_version(
    workspace: Workspace, table: pyarrow.Table, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(spec_for(workspace, table, **fields), workspace)
    assert versions(workspace) == []
    assert all(run.info.status == "FAILED" for run in runs(workspace))


@pytest.mark.parametrize(
    "fields",
    [
        {"code": build_horizon},
        {"pip_requirements": ["scikit-learn =="]},
        {"profile_uri": "/nowhere.json"},
        {"estimator": "sklearn.linear_model.Nobody"},
    ],
)
def test_nothing_is_begun_with_a_spec_that_is_wrong(workspace: Workspace, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError):
        train(spec_for(workspace, **fields), workspace)
    assert runs(workspace) == []


def test_requirements_that_pip_reads_by_itself_are_let_through(workspace: Workspace) -> None:
    requirements = ("scikit-learn", "--extra-index-url=https://example.com/simple", "pkg @ https://example.com/p.whl")
    assert train(spec_for(workspace, pip_requirements=requirements), workspace).model.version == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": None}, "give either estimator"),
        ({"code": "math:hypot"}, "give either estimator"),
        ({"version_tags": {"mlops.owner": "me"}}, "begin with mlops"),
        ({"sead": 3}, "sead"),
    ],
)
def test_a_wrong_spec_is_refused_before_it_runs(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    good = spec_for(workspace).model_dump(mode="json")
    with pytest.raises(InvalidSpecError, match=message):
        load("train").parse({**good, **fields})


class Exploding(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator whose predictions are not finite."""

    def fit(self, features: Any, target: Any) -> Exploding:
        self.is_fitted_ = True
        return self

    def predict(self, features: Any) -> Any:
        return numpy.full(len(features), numpy.inf)


def build_exploding() -> Any:
    return Exploding()


class Homemade:
    """An estimator that does not derive from scikit-learn's base class."""

    def fit(self, features: Any, target: Any) -> Homemade:
        return self

    def predict(self, features: Any) -> Any:
        return features


def test_an_estimator_that_no_pipeline_can_hold_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidSpecError, match=r"returned Homemade.*derive it from sklearn\.base\.BaseEstimator"):
        train(spec_for(workspace, code=build_homemade), workspace)


def test_predictions_that_are_not_finite_are_refused(workspace: Workspace) -> None:
    table = people().select(["income", "spend"])
    with pytest.raises(RejectedError, match="predictions of Exploding are not finite for 120 of 120 rows"):
        train(spec_for(workspace, table, target="spend", code=build_exploding), workspace)
    assert versions(workspace) == []


class Halving(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of the user's own."""

    def fit(self, features: Any, target: Any) -> Halving:
        self.is_fitted_ = True
        return self

    def predict(self, features: Any) -> Any:
        return numpy.asarray(features)[:, 0] / 2


def build_halving() -> Any:
    return Halving()


def test_a_type_that_is_not_trusted_is_named_and_can_be_trusted(workspace: Workspace) -> None:
    table = people().select(["income", "spend"])
    name = f"{Halving.__module__}.Halving"
    with pytest.raises(InvalidSpecError) as caught:
        train(spec_for(workspace, table, target="spend", code=build_halving), workspace)
    assert f"trusted_types=['{name}']" in str(caught.value)
    result = train(spec_for(workspace, table, target="spend", code=build_halving, trusted_types=(name,)), workspace)
    model = models.load(workspace.registry(), result.model)
    assert model.predict(pandas.DataFrame({"income": [4.0]})) == [2.0]


def test_a_validation_dataset_without_a_column_is_named(workspace: Workspace) -> None:
    validation = write(workspace, numbers().drop(["b"]), "validation")
    with pytest.raises(InvalidSpecError, match=r"validation_dataset=.*lacks the columns \['b'\]"):
        train(spec_for(workspace, validation_dataset=validation), workspace)


def refuse_to_build() -> Any:
    raise AssertionError("built before the validation rows were checked")


def test_validation_rows_of_another_kind_are_named_before_the_training(workspace: Workspace) -> None:
    table = numbers()
    table = table.set_column(1, "b", pyarrow.array(["many"] * table.num_rows))
    validation = write(workspace, table, "validation")
    message = r"validation_dataset=.*its column 'b' holds string values, and that of the training rows numbers"
    with pytest.raises(InvalidSpecError, match=message):
        train(spec_for(workspace, validation_dataset=validation, code=refuse_to_build), workspace)


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


def test_training_twice_leaves_one_run_and_one_version(workspace: Workspace) -> None:
    spec = spec_for(workspace)
    first = train(spec, workspace)
    again = train(spec, workspace.model_copy(update={"task": workspace.task.model_copy(update={"try_number": 2})}))
    assert again == first
    assert len(runs(workspace)) == 1
    assert [int(one.version) for one in versions(workspace)] == [1]


def test_the_commit_is_that_of_the_users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_mlops.lifecycle.train_provenance import git_commit
    from airflow_provider_mlops.lifecycle.user_code import UserCode

    monkeypatch.delenv("AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT")
    (tmp_path / "my_training_code.py").write_text("def build():\n    return 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Add code"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert git_commit(UserCode.model_validate("my_training_code:build")) == head
    monkeypatch.chdir("/")
    monkeypatch.delenv("AIRFLOW__CORE__DAGS_FOLDER", raising=False)
    assert git_commit(None) is None


def test_another_spec_under_the_same_task_replaces_the_version(workspace: Workspace) -> None:
    train(spec_for(workspace), workspace)
    result = train(spec_for(workspace, parameters={"C": 0.1}), workspace)
    assert [int(one.version) for one in versions(workspace)] == [result.model.version]
    (run,) = runs(workspace)
    assert run.data.params["parameters.C"] == "0.1"
    assert models.load(workspace.registry(), result.model).steps[-1][1].C == 0.1


def test_a_version_in_use_and_its_run_outlive_another_spec(workspace: Workspace) -> None:
    first = train(spec_for(workspace), workspace)
    client = workspace.registry().client
    client.set_registered_model_alias("churn", "champion", "1")
    second = train(spec_for(workspace, parameters={"C": 0.1}), workspace)
    assert sorted(int(one.version) for one in versions(workspace)) == [1, second.model.version]
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
from airflow_provider_mlops.lifecycle import train_fit, train_record
from airflow_provider_mlops.lifecycle.train import TrainSpec, train
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
    train_fit.fit = kill
elif point == "after fit":
    train_fit.fit = after(train_fit.fit)
elif point == "after the model's files":
    registration.log_model = after(registration.log_model)
elif point == "after the version":
    registration.register = after(registration.register)
else:
    plain = guard.GuardedClient.__getattr__
    def deadly(self, name):
        found = plain(self, name)
        return after(found) if name == point else found
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
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
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


def test_an_mlflow_that_is_away_is_said_within_seconds(workspace: Workspace, free_port: int) -> None:
    import time

    away = workspace.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port}"})
    start = time.monotonic()
    with pytest.raises(BackendAwayError, match=rf"MLflow at http://127\.0\.0\.1:{free_port} is away"):
        train(spec_for(workspace), away)
    assert time.monotonic() - start < 15


def test_training_over_http_with_a_password(workspace: Workspace, guarded_mlflow_server: str) -> None:
    from pydantic import SecretStr

    url = guarded_mlflow_server
    spec = spec_for(workspace)
    remote = workspace.model_copy(update={"tracking_uri": url})

    def signed_in(password: str) -> Workspace:
        return remote.model_copy(
            update={"secrets": {"mlflow_username": SecretStr("admin"), "mlflow_password": SecretStr(password)}}
        )

    with pytest.raises(InvalidSpecError, match="refuses the credentials") as caught:
        train(spec, signed_in("wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(InvalidSpecError, match="refuses the credentials"):
        train(spec, remote)

    result: TrainResult = train(spec, signed_in("password1234"))
    registry = signed_in("password1234").registry()
    assert models.load(registry, result.model).predict(pandas.DataFrame({"a": [2.0], "b": [0.0]})) == [1]
    assert registry.url(result.mlflow_run_id, "1") == f"{url}/#/experiments/1/runs/{result.mlflow_run_id}"
    assert registry.model_url("churn", 1) == f"{url}/#/models/churn/versions/1"
    assert list(models.input_example(registry, result.model).columns) == ["a", "b"]
    again = train(spec, signed_in("password1234"))
    assert again.model == result.model
    assert len(registry.client.search_model_versions("name = 'churn'")) == 1

    script = (
        "import mlflow, sys, pandas\n"
        "print(mlflow.pyfunc.load_model('models:/churn/1').predict(pandas.DataFrame({'a': [2.0], 'b': [0.0]})))"
    )
    environment = {
        **_environment(),
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": "password1234",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/", env=environment
    )
    assert done.stdout.split()[-1] == "[1]", done.stderr


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_T")}


def test_the_fingerprint_of_the_data_is_what_the_version_says(workspace: Workspace, tmp_path: Path) -> None:
    spec = spec_for(workspace)
    result = train(spec, workspace)
    write(workspace, numbers(seed=5))
    with pytest.raises(InvalidSpecError, match="its content changed"):
        train(spec, workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "r2"})}))
    assert models.tags(workspace.registry(), result.model)["mlops.data_fingerprint"] == spec.dataset.fingerprint
