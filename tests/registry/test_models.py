"""Logging, registering and loading models: the real MLflow and the real skops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, packaging, registration
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.registry.trusted import TRUSTED_TYPES


def _rows() -> tuple[pandas.DataFrame, numpy.ndarray[Any, Any]]:
    generator = numpy.random.default_rng(0)
    features = pandas.DataFrame({"age": generator.normal(40, 9, 60), "size": generator.normal(3, 1, 60)})
    return features, numpy.where(features["age"] > 40, "old", "young").astype(object)


def _fitted(estimator: Any = None) -> tuple[Any, pandas.DataFrame]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = _rows()
    return make_pipeline(StandardScaler(), estimator or LogisticRegression()).fit(features, labels), features


def _registered(workspace: Workspace, model: Any, features: pandas.DataFrame, **options: Any) -> ModelVersion:
    with open_run(workspace.registry(), workspace.task, "train") as run:
        model_id = registration.log_model(run, model, features, metadata={"problem": "classification"}, **options)
        return registration.register(run, "churn", model_id, workspace.task, tags={"color": "blue"}, work="w")


def test_a_model_comes_back_as_it_was(workspace: Workspace) -> None:
    model, features = _fitted()
    version = _registered(workspace, model, features)
    registry = workspace.registry()
    loaded = models.load(registry, version)
    numpy.testing.assert_array_equal(loaded.predict(features), model.predict(features))
    numpy.testing.assert_array_equal(loaded.predict_proba(features), model.predict_proba(features))
    assert list(loaded.classes_) == ["old", "young"]
    assert models.tags(registry, version).items() >= {"color": "blue", "mlops.dag_id": "churn"}.items()
    assert models.metadata(registry, version) == {"problem": "classification"}
    assert [(spec.name, spec.type.name) for spec in models.signature(registry, version).inputs.inputs] == [
        ("age", "double"),
        ("size", "double"),
    ]
    assert models.signature(registry, version).outputs.inputs[0].type.name == "string"
    pandas.testing.assert_frame_equal(models.input_example(registry, version), features.head(5))


def test_plain_mlflow_loads_and_validates_the_model(workspace: Workspace) -> None:
    model, features = _fitted()
    version = _registered(workspace, model, features)
    script = f"""
import mlflow
mlflow.set_tracking_uri({workspace.registry().tracking_uri!r})
mlflow.set_registry_uri({workspace.registry().tracking_uri!r})
from mlflow.models import validate_serving_input
from mlflow.models.utils import load_serving_example
import json, sys
model = mlflow.pyfunc.load_model({version.uri!r})
example = load_serving_example({version.uri!r})
served = list(validate_serving_input({version.uri!r}, example))
print(json.dumps([list(model.predict(model.input_example)), served, "airflow_provider_mlops" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    predicted, served, ours = json.loads(done.stdout.splitlines()[-1])
    assert predicted == served == list(model.predict(features.head(5)))
    assert not ours


def test_the_logged_model_belongs_to_its_run(workspace: Workspace) -> None:
    model, features = _fitted()
    version = _registered(workspace, model, features)
    client = workspace.registry().client
    run = client.get_run(version.run_id)
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.name, str(logged.status), logged.source_run_id) == ("model", "READY", version.run_id)
    assert client.get_model_version("churn", "1").tags["mlops.model_id"] == output.model_id
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "churn", "version": 1}]


def test_registering_twice_leaves_one_version(workspace: Workspace) -> None:
    model, features = _fitted()
    first = _registered(workspace, model, features)
    second = _registered(workspace, model, features)
    client = workspace.registry().client
    assert [int(version.version) for version in client.search_model_versions("name = 'churn'")] == [second.version]
    assert first.run_id == second.run_id


def test_a_version_in_use_is_not_replaced(workspace: Workspace) -> None:
    model, features = _fitted()
    first = _registered(workspace, model, features)
    client = workspace.registry().client
    client.set_registered_model_alias("churn", "champion", str(first.version))
    second = _registered(workspace, model, features)
    assert {int(version.version) for version in client.search_model_versions("name = 'churn'")} == {
        first.version,
        second.version,
    }


def test_an_unknown_version_or_alias_is_named(workspace: Workspace) -> None:
    model, features = _fitted()
    _registered(workspace, model, features)
    registry = workspace.registry()
    assert models.get(registry, "churn", 1).version == 1
    with pytest.raises(InvalidSpecError, match="churn has no version 7"):
        models.get(registry, "churn", 7)
    with pytest.raises(InvalidSpecError, match="alias champion"):
        models.get(registry, "churn", "champion")
    with pytest.raises(InvalidSpecError, match="has no version 1"):
        models.get(registry, "nobody", 1)
    assert models.aliases(registry, "nobody") == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("", "must not be blank"),
        ("  ", "must not be blank"),
        ("a/b", "must not contain '/'"),
        ("a:b", "must not contain ':'"),
        ("it's", 'must not contain "\'"'),
        ("x" * 201, "at most 200 characters, not 201"),
    ],
)
def test_a_name_that_mlflow_cannot_carry_is_refused(name: str, hint: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"model_name=.*{hint}"):
        models.check_name(name)


class Doubling:
    """An estimator of the user's own, in a module that can be imported."""

    def fit(self, features: Any, target: Any = None) -> Doubling:
        self.is_fitted_ = True
        return self

    def predict(self, features: Any) -> Any:
        return numpy.asarray(features)[:, 0] * 2

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}


def test_an_untrusted_type_is_refused_and_the_hint_works(workspace: Workspace) -> None:
    features, _ = _rows()
    model = Doubling().fit(features)
    with pytest.raises(InvalidSpecError, match="trusted_types") as caught:
        _registered(workspace, model, features)
    name = f"{Doubling.__module__}.Doubling"
    assert f"trusted_types=['{name}']" in str(caught.value)
    client = workspace.registry().client
    assert client.search_logged_models([workspace.registry().experiment("churn")]) == []

    version = _registered(workspace, model, features, trusted_types=[name])
    loaded = models.load(workspace.registry(), version)
    numpy.testing.assert_array_equal(loaded.predict(features), model.predict(features))
    # The step has approved the type for this file in this storage; elsewhere the process that loads it has to name it.
    with models.downloaded(workspace.registry(), version) as directory:
        with pytest.raises(InvalidSpecError, match="Doubling"):
            packaging.read(directory)
        assert packaging.read(directory, trusted_types=[name]) is not None
    registry = workspace.model_copy(update={"trusted_types": (name,)}).registry()
    for approval in Path(workspace.storage_uri, "trusted-types").iterdir():
        approval.unlink()
    assert models.load(registry, version) is not None
    with pytest.raises(InvalidSpecError, match=r"Doubling'\. If you trust them"):
        models.load(workspace.registry(), version)


def test_the_standard_library_is_never_trusted(workspace: Workspace) -> None:
    from sklearn.preprocessing import FunctionTransformer

    features, _ = _rows()
    model = FunctionTransformer(os.system).fit(features)
    model.predict = model.transform
    with pytest.raises(InvalidSpecError, match=r"posix\.system"):
        _registered(workspace, model, features, trusted_types=["posix.system"])


def test_a_list_of_trusted_types_that_somebody_extended_means_nothing(workspace: Workspace) -> None:
    import yaml

    model, features = _fitted()
    version = _registered(workspace, model, features)
    with models.downloaded(workspace.registry(), version) as directory:
        content = yaml.safe_load((directory / "MLmodel").read_text())
        content["flavors"]["sklearn"]["skops_trusted_types"] = ["builtins.eval"]
        (directory / "MLmodel").write_text(yaml.safe_dump(content))
    # What the files say of types is not even read.
    assert models.load(workspace.registry(), version) is not None


@pytest.mark.parametrize("form", ["pickle", "cloudpickle"])
def test_a_pickled_model_is_refused_without_opting_in(workspace: Workspace, form: str) -> None:
    import mlflow.sklearn

    model, features = _fitted()
    registry = workspace.registry()
    with open_run(registry, workspace.task, "stranger") as run:
        logged = registry.client.create_logged_model(run.experiment_id, name="model", source_run_id=run.id)
        path = os.path.join(workspace.storage_uri, "pickled")
        mlflow.sklearn.save_model(model, path, serialization_format=form, pip_requirements=["numpy"])
        registry.client.log_model_artifacts(logged.model_id, path)
        registry.client.finalize_logged_model(logged.model_id, "READY")
        registry.client.create_registered_model("churn")
        registry.client.create_model_version("churn", logged.artifact_location, run.id, model_id=logged.model_id)
    version = models.get(registry, "churn", 1)
    with pytest.raises(InvalidSpecError, match="allow_pickle=True") as caught:
        models.load(registry, version)
    assert form in str(caught.value)
    loaded = models.load(registry, version, allow_pickle=True)
    numpy.testing.assert_array_equal(loaded.predict(features), model.predict(features))


def test_requirements_name_installed_versions_of_what_the_model_needs(workspace: Workspace) -> None:
    import sklearn

    model, features = _fitted()
    version = _registered(workspace, model, features)
    with models.downloaded(workspace.registry(), version) as directory:
        lines = (directory / "requirements.txt").read_text().splitlines()
    assert f"scikit-learn=={sklearn.__version__}" in lines
    assert all("==" in line for line in lines)
    assert len(lines) == 6


_QUICK = {
    "AdaBoostClassifier",
    "BaggingRegressor",
    "CalibratedClassifierCV",
    "DecisionTreeClassifier",
    "ExtraTreesRegressor",
    "GaussianProcessRegressor",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "KNeighborsRegressor",
    "MLPClassifier",
    "OutputCodeClassifier",
    "RandomForestClassifier",
    "SGDClassifier",
    "SVC",
    "StackingClassifier",
    "TunedThresholdClassifierCV",
    "TweedieRegressor",
    "VotingRegressor",
}


@pytest.mark.parametrize("name", sorted(_QUICK))
def test_scikit_learns_own_estimators_need_no_trusted_types(name: str) -> None:
    """The curated list covers what fitted estimators are made of: a list that is too short fails here."""
    import skops.io
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.utils import all_estimators

    features, labels = _rows()
    cls = dict(all_estimators())[name]
    classifies = "Classifier" in name or name == "SVC"
    base: Any = LogisticRegression() if classifies else Ridge()
    target = labels if classifies else numpy.abs(features["size"].to_numpy())
    options: dict[str, Any] = {}
    if name.startswith(("Stacking", "Voting")):
        options["estimators"] = [("one", base)]
    elif name.startswith(("OutputCode", "TunedThreshold")):
        options["estimator"] = base
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(**options).fit(features, target)
    content = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=content)) <= set(TRUSTED_TYPES)


def test_two_processes_that_create_the_embedded_database_both_work(tmp_path: Any) -> None:
    script = (
        "import sys; from airflow_provider_mlops.registry.connection import Registry; "
        "from airflow_provider_mlops.registry.settings import RegistrySettings; "
        "print(Registry(RegistrySettings(sys.argv[1])).experiment('churn'))"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0].split()[-1] == outputs[1][0].split()[-1]
    assert Registry(RegistrySettings(str(tmp_path))).client.get_experiment_by_name("churn") is not None
