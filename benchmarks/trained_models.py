"""Models that the steps prepare and train make, and one row for each in the forms in which requests come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer, load_diabetes

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.workspace import Workspace

TENSOR, SPLIT, COLUMNS = "one tensor", "dataframe_split", "a tensor per column"
FORMS = (TENSOR, SPLIT, COLUMNS)
"""Forms of requests. `one tensor` exists only for columns of numbers."""

_DATATYPES = {float: "FP64", int: "INT64", bool: "BOOL", str: "BYTES", type(None): "FP64"}


@dataclass(frozen=True)
class Case:
    """A model that the step train makes."""

    name: str
    rows: str
    estimator: str
    is_prepared: bool
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        preprocessing = ", prepare's preprocessing" if self.is_prepared else ""
        return f"{self.estimator.rpartition('.')[2]}{preprocessing}, {_TITLES[self.rows]}"


_LOGISTIC = ("sklearn.linear_model.LogisticRegression", (("max_iter", 2000),))
_FOREST = ("sklearn.ensemble.RandomForestClassifier", ())
_BOOSTING = ("sklearn.ensemble.HistGradientBoostingClassifier", ())
_TITLES = {"cancer": "30 numbers", "customers": "8 mixed columns", "diabetes": "10 numbers"}
_TARGETS = {"cancer": "target", "customers": "churned", "diabetes": "target"}

CASES = (
    Case("logistic", "cancer", _LOGISTIC[0], False, _LOGISTIC[1]),
    Case("logistic_prepared", "cancer", _LOGISTIC[0], True, _LOGISTIC[1]),
    Case("logistic_mixed", "customers", _LOGISTIC[0], True, _LOGISTIC[1]),
    Case("forest", "cancer", _FOREST[0], False),
    Case("forest_mixed", "customers", _FOREST[0], True),
    Case("boosting", "cancer", _BOOSTING[0], False),
    Case("boosting_prepared", "cancer", _BOOSTING[0], True),
    Case("boosting_mixed", "customers", _BOOSTING[0], True),
    Case("regression_prepared", "diabetes", "sklearn.linear_model.Ridge", True),
    Case("boosting_regression", "diabetes", "sklearn.ensemble.HistGradientBoostingRegressor", True),
)
BY_NAME = {case.name: case for case in CASES}


def build(storage: Path, cases: tuple[Case, ...] = CASES) -> dict[str, dict[str, Any]]:
    """Run prepare and train for each case. Returns the row with which each model is measured."""
    tables = {"cancer": _cancer, "customers": _customers, "diabetes": _diabetes}
    datasets: dict[str, Dataset] = {}
    measured: dict[str, dict[str, Any]] = {}
    for case in cases:
        target = _TARGETS[case.rows]
        if case.rows not in datasets:
            workspace = _workspace(storage, case.rows)
            with DatasetWriter(workspace.uri("datasets", case.rows), case.rows) as writer:
                writer.write(tables[case.rows]())
                datasets[case.rows] = writer.commit()
        prepared = _run(storage, case.name, "prepare", dataset=datasets[case.rows], target=target)
        trained = _run(
            storage,
            case.name,
            "train",
            dataset=prepared.train,
            target=target,
            estimator=case.estimator,
            parameters=dict(case.parameters),
            preprocessing=prepared.preprocessing if case.is_prepared else None,
            model_name=case.name,
            pip_requirements=(),
        )
        registry = _workspace(storage, case.name).registry()
        registry.client.set_registered_model_alias(case.name, "champion", str(trained.model.version))
        row = prepared.test.arrow().slice(0, 1).to_pylist()[0]
        row.pop(target)
        measured[case.name] = row
    return measured


def bodies(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the body of a request for a row in each form that can hold it."""
    values = list(row.values())
    split = {"dataframe_split": {"columns": list(row), "data": [values]}}
    columns = [
        {"name": name, "shape": [1], "datatype": _DATATYPES[type(value)], "data": [value]}
        for name, value in row.items()
    ]
    forms: dict[str, dict[str, Any]] = {SPLIT: split, COLUMNS: {"inputs": columns}}
    if all(type(value) is float for value in values):
        tensor = {"name": "input", "shape": [1, len(values)], "datatype": "FP64", "data": values}
        forms[TENSOR] = {"inputs": [tensor]}
    return {form: forms[form] for form in FORMS if form in forms}


def path(form: str, model: str) -> str:
    """Return the gateway's path for a form."""
    return f"/models/{model}/invocations" if form == SPLIT else f"/v2/models/{model}/infer"


def write(directory: Path, name: str, form: str, body: dict[str, Any]) -> Path:
    """Write a body to a file for the load client."""
    file = directory / f"{name}-{form.replace(' ', '-')}.json"
    file.write_text(json.dumps(body))
    return file


def _run(storage: Path, task: str, name: str, **fields: Any) -> Any:
    definition = load(name)
    return definition.run(definition.parse(fields), _workspace(storage, task))


def _workspace(storage: Path, task: str) -> Workspace:
    return Workspace(storage_uri=str(storage), task=TaskIdentity(dag_id="benchmark", run_id="1", task_id=task))


def _cancer() -> pa.Table:
    frame = load_breast_cancer(as_frame=True).frame
    return pa.Table.from_pandas(frame, preserve_index=False)


def _diabetes() -> pa.Table:
    frame = load_diabetes(as_frame=True).frame.astype(np.float64)
    return pa.Table.from_pandas(frame, preserve_index=False)


def _customers() -> pa.Table:
    """Numbers, whole numbers, text and booleans; some numbers and texts are missing."""
    random = np.random.default_rng(0)
    count = 2000
    age, income = random.normal(45, 12, count), random.gamma(2.0, 20_000, count)
    plan = random.choice(["basic", "family", "premium"], count)
    member = random.random(count) < 0.4
    churned = np.where((age < 40) ^ member ^ (plan == "basic") ^ (random.random(count) < 0.1), "yes", "no")

    def gaps(values: Any) -> list[Any]:
        return [None if gap else value for value, gap in zip(values.tolist(), random.random(count) < 0.1, strict=True)]

    return pa.table(
        {
            "age": gaps(age),
            "income": gaps(income),
            "visits": random.poisson(4, count),
            "tenure": random.integers(0, 120, count),
            "town": gaps(random.choice([f"town {number}" for number in range(40)], count)),
            "plan": plan.tolist(),
            "channel": gaps(random.choice(["web", "shop", "phone"], count)),
            "member": member,
            "churned": churned.tolist(),
        }
    )
