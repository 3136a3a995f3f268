"""Rows and specs for the tests of the train step, and the runs and versions that it leaves in MLflow."""

from __future__ import annotations

import os
from typing import Any

import numpy
import pyarrow

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
from airflow_provider_mlops.lifecycle.workspace import Workspace

LOGISTIC = "sklearn.linear_model.LogisticRegression"


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


def plain_environment() -> dict[str, str]:
    """The variables of a process that has no MLflow settings yet."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_T")}
