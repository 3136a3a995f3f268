"""Estimators from the user's own code: unfitted, fitted, of untrusted types, and objects that are not estimators."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from tests.helpers.training import people, spec_for, versions


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


def test_user_code_may_return_a_fitted_estimator_but_not_with_preprocessing(workspace: Workspace) -> None:
    result = train(spec_for(workspace, code=build_fitted), workspace)
    assert models.load(workspace.registry(), result.model).steps[-1][1].max_depth == 2
    with pytest.raises(InvalidSpecError, match="remove preprocessing"):
        train(spec_for(workspace, code=build_fitted, preprocessing=Preprocessing()), workspace)


def build_nothing(features: Any) -> Any:
    return {}


def build_homemade() -> Any:
    return Homemade()


def test_user_code_must_return_an_estimator(workspace: Workspace) -> None:
    with pytest.raises(InvalidSpecError, match=r"an object with fit and predict.*, not dict"):
        train(spec_for(workspace, code=build_nothing), workspace)


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


def test_an_estimator_without_the_base_class_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidSpecError, match=r"estimator Homemade must derive from sklearn\.base\.BaseEstimator"):
        train(spec_for(workspace, code=build_homemade), workspace)


def test_predictions_that_are_not_finite_are_refused(workspace: Workspace) -> None:
    table = people().select(["income", "spend"])
    with pytest.raises(RejectedError, match="model Exploding: its predictions are not finite for 120 of 120 rows"):
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


def test_an_untrusted_type_is_named_and_can_be_trusted(workspace: Workspace) -> None:
    table = people().select(["income", "spend"])
    name = f"{Halving.__module__}.Halving"
    with pytest.raises(InvalidSpecError) as caught:
        train(spec_for(workspace, table, target="spend", code=build_halving), workspace)
    assert f"trusted_types=['{name}']" in str(caught.value)
    result = train(spec_for(workspace, table, target="spend", code=build_halving, trusted_types=(name,)), workspace)
    model = models.load(workspace.registry(), result.model)
    assert model.predict(pandas.DataFrame({"income": [4.0]})) == [2.0]


def test_the_commit_is_taken_from_the_users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_mlops.lifecycle.train.provenance import git_commit
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
