"""Rows, fields and validation rows that cannot be used for training: the error names them, and nothing is left."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow
import pytest

from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.training import numbers, people, runs, spec_for, versions, write


def build_horizon(horizon: int) -> Any:
    return horizon


def build_a_class() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression


def _with(column: str, values: list[Any]) -> pyarrow.Table:
    table = numbers(len(values))
    return table.set_column(table.column_names.index(column), column, pyarrow.array(values))


@pytest.mark.parametrize(
    ("table", "fields", "error", "message"),
    [
        (_with("label", [0.0, 1.0, float("nan"), None]), {}, RejectedError, "missing in 2 of 4 rows"),
        (_with("label", [None, "yes", "no", "yes"]), {}, RejectedError, r"1 of 4 rows.*filters="),
        (
            _with("label", [1, 1, 1, 1]),
            {},
            RejectedError,
            r"^Rejected target 'label': all rows \(4\) are of the class 1",
        ),
        (_with("label", [0.5, 1.5, 2.0, 1.0]), {"problem": "classification"}, InvalidSpecError, "a value is 0.5"),
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
            "infinite in 1 of 4 rows",
        ),
        (numbers().slice(0, 0), {}, RejectedError, "it has no rows"),
        (numbers().select(["label"]), {}, InvalidSpecError, "at least one feature column"),
        (
            numbers(),
            {"target": "lable"},
            InvalidSpecError,
            "target='lable': it must be a column.*Did you mean 'label'",
        ),
        (numbers(), {"estimator": "sklearn.nowhere.Model"}, InvalidSpecError, "estimator='sklearn.nowhere.Model'"),
        (
            numbers(),
            {"estimator": "sklearn.linear_model.Nobody"},
            InvalidSpecError,
            "estimator='sklearn.linear_model.Nobody'",
        ),
        (numbers(), {"estimator": "os.system"}, InvalidSpecError, "must be a class with fit and predict"),
        (
            numbers(),
            {"estimator": "sklearn.preprocessing.StandardScaler"},
            InvalidSpecError,
            "must have a predict method",
        ),
        (
            numbers(),
            {"parameters": {"max_itre": 3}},
            InvalidSpecError,
            "parameters='max_itre'.*Did you mean 'max_iter'",
        ),
        (numbers(), {"parameters": {"C": -1}}, InvalidSpecError, "'C' parameter"),
        (numbers(), {"parameters": {"C": "much"}}, InvalidSpecError, "'C' parameter"),
        (numbers(), {"problem": "regression"}, InvalidSpecError, "is for classification"),
        (
            people().drop(["spend"]),
            {"target": "churned"},
            InvalidSpecError,
            "could not convert string to float.*Set preprocessing",
        ),
        (numbers(), {"model_name": "a/b"}, InvalidSpecError, "model_name='a/b'"),
        (
            _with("a", [date(2026, 1, day) for day in (1, 2, 3, 4)]),
            {},
            InvalidSpecError,
            r"'a' contain dates or times.*drop",
        ),
        (
            _with("a", [1.0, float("inf"), 2.0, 3.5]),
            {"preprocessing": {}},
            RejectedError,
            r"'a' contain infinite values",
        ),
        (numbers(), {"code": build_horizon}, InvalidSpecError, r"code='.*build_horizon': .*horizon"),
        (numbers(), {"code": "nowhere:build"}, InvalidSpecError, "code='nowhere:build'"),
        (
            numbers(),
            {"code": build_a_class},
            InvalidSpecError,
            r"an object with fit.*, not the class LogisticRegression",
        ),
        (
            numbers(),
            {"pip_requirements": ["scikit-learn =="]},
            InvalidSpecError,
            "pip_requirements='scikit-learn =='.*a requirement that pip can read",
        ),
        (numbers(), {"profile_uri": "/nowhere.json"}, InvalidSpecError, "profile_uri='/nowhere.json'"),
        (numbers(), {"estimator": "sklearn..Model"}, InvalidSpecError, "estimator='sklearn..Model'"),
    ],
)
def test_unusable_rows_and_fields_are_named_and_leave_no_version(
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
def test_an_invalid_spec_starts_no_run(workspace: Workspace, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError):
        train(spec_for(workspace, **fields), workspace)
    assert runs(workspace) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": None}, "set either estimator"),
        ({"code": "math:hypot"}, "cannot be used together"),
        ({"version_tags": {"mlops.owner": "me"}}, "reserved.*'mlops.owner'"),
        ({"sead": 3}, "sead"),
    ],
)
def test_an_invalid_spec_is_refused_before_it_runs(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    good = spec_for(workspace).model_dump(mode="json")
    with pytest.raises(InvalidSpecError, match=message):
        load("train").parse({**good, **fields})


def test_a_validation_dataset_without_a_column_is_named(workspace: Workspace) -> None:
    validation = write(workspace, numbers().drop(["b"]), "validation")
    with pytest.raises(InvalidSpecError, match=r"validation_dataset=.*lacks the training columns 'b'"):
        train(spec_for(workspace, validation_dataset=validation), workspace)


def refuse_to_build() -> Any:
    raise AssertionError("built before the validation rows were checked")


def test_validation_rows_of_another_kind_are_named_before_the_training(workspace: Workspace) -> None:
    table = numbers()
    table = table.set_column(1, "b", pyarrow.array(["many"] * table.num_rows))
    validation = write(workspace, table, "validation")
    message = r"validation_dataset=.*the column 'b' holds string values, but in the training rows it holds numbers"
    with pytest.raises(InvalidSpecError, match=message):
        train(spec_for(workspace, validation_dataset=validation, code=refuse_to_build), workspace)
