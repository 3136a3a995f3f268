"""Models that the steps prepare and train make, and rows for each in the forms in which requests come."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

_DATATYPES = {float: "FP64", int: "INT64", bool: "BOOL", str: "BYTES"}
_ROWS = 32


@dataclass(frozen=True)
class Case:
    """A model that the step train makes."""

    name: str
    rows: str
    estimator: str
    is_prepared: bool
    parameters: tuple[tuple[str, Any], ...] = ()
    trusted_types: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        preprocessing = ", prepare's preprocessing" if self.is_prepared else ""
        return f"{self.estimator.rpartition('.')[2]}{preprocessing}, {_TITLES[self.rows]}"


_LOGISTIC = ("sklearn.linear_model.LogisticRegression", (("max_iter", 2000),))
_FOREST = ("sklearn.ensemble.RandomForestClassifier", ())
_XGBOOST = ("xgboost.core.Booster", "xgboost.sklearn.XGBClassifier")
_LIGHTGBM = ("collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier")
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
    Case("xgboost_prepared", "cancer", "xgboost.XGBClassifier", True, (), _XGBOOST),
    Case("lightgbm_mixed", "customers", "lightgbm.LGBMClassifier", True, (("verbose", -1),), _LIGHTGBM),
    Case("regression_prepared", "diabetes", "sklearn.linear_model.Ridge", True),
    Case("boosting_regression", "diabetes", "sklearn.ensemble.HistGradientBoostingRegressor", True),
)
BY_NAME = {case.name: case for case in CASES}


def build(storage: Path, cases: tuple[Case, ...] = CASES) -> dict[str, list[dict[str, Any]]]:
    """Run prepare and train for each case. Returns the rows with which each model is measured."""
    tables = {"cancer": _cancer, "customers": _customers, "diabetes": _diabetes}
    datasets: dict[str, Dataset] = {}
    measured: dict[str, list[dict[str, Any]]] = {}
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
            trusted_types=case.trusted_types,
        )
        registry = _workspace(storage, case.name).registry()
        registry.client.set_registered_model_alias(case.name, "champion", str(trained.model.version))
        measured[case.name] = prepared.test.arrow().slice(0, _ROWS).drop_columns([target]).to_pylist()
    return measured


def kinds(rows: Sequence[dict[str, Any]]) -> dict[str, type]:
    """Return the type of each column's values: that of the first one that is not missing."""
    return {name: next(type(row[name]) for row in rows if row[name] is not None) for name in rows[0]}


def is_numeric(kinds: dict[str, type]) -> bool:
    """Return whether rows fit into one tensor of numbers."""
    return set(kinds.values()) == {float}


def forms(kinds: dict[str, type]) -> tuple[str, ...]:
    """Return the forms of requests that can hold the rows."""
    return FORMS if is_numeric(kinds) else (SPLIT, COLUMNS)


def body(form: str, row: dict[str, Any], kinds: dict[str, type]) -> dict[str, Any]:
    """Return the body of a request for a row."""
    values = list(row.values())
    if form == SPLIT:
        return {"dataframe_split": {"columns": list(row), "data": [values]}}
    if form == TENSOR:
        return {"inputs": [{"name": "input", "shape": [1, len(values)], "datatype": "FP64", "data": values}]}
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": _DATATYPES[kinds[name]], "data": [value]}
            for name, value in row.items()
        ]
    }


def path(form: str, model: str) -> str:
    """Return the gateway's path for a form."""
    return f"/models/{model}/invocations" if form == SPLIT else f"/v2/models/{model}/infer"


def write(directory: Path, name: str, bodies: Sequence[dict[str, Any]]) -> Path:
    """Write bodies to a file for the load client, one on each line."""
    file = directory / f"{name.replace(' ', '-')}.json"
    file.write_text("\n".join(json.dumps(body) for body in bodies))
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
