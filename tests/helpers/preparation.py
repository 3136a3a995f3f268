"""Rows, and short forms of the step prepare, for its tests."""

from __future__ import annotations

from typing import Any

import numpy
import pyarrow

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.lifecycle.prepare.spec import PrepareResult
from airflow_provider_mlops.lifecycle.prepare.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace

PARTS = ("train", "validation", "test")


def write(workspace: Workspace, table: pyarrow.Table, name: str = "rows", batches: int = 1) -> Dataset:
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        size = -(-table.num_rows // batches) or 1
        for start in range(0, table.num_rows or 1, size):
            writer.write(table.slice(start, size))
        return writer.commit()


def rows(count: int = 1000, seed: int = 0) -> pyarrow.Table:
    random = numpy.random.default_rng(seed)
    return pyarrow.table(
        {
            "id": numpy.arange(count),
            "age": random.integers(18, 90, count),
            "income": pyarrow.array(random.normal(30_000, 9_000, count), mask=random.random(count) < 0.1),
            "city": random.choice(["Ulm", "Bonn", "Kiel"], count),
            "customer": random.integers(0, 60, count),
            "at": pyarrow.array(
                numpy.datetime64("2026-01-01", "ns") + random.integers(0, 10**16, count).astype("timedelta64[ns]")
            ),
            "churned": random.choice(["yes", "no", "maybe"], count, p=[0.2, 0.75, 0.05]),
        }
    )


def run(workspace: Workspace, dataset: Dataset, **fields: Any) -> PrepareResult:
    return STEP.run(STEP.parse({"dataset": dataset, "target": "churned", "drop": ["at"], **fields}), workspace)


def another_run(workspace: Workspace, **changes: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": "another", **changes})})


def ids(dataset: Dataset) -> list[int]:
    return dataset.arrow(["id"])["id"].to_pylist()


def parts(result: PrepareResult) -> list[list[int]]:
    return [ids(getattr(result, part)) for part in PARTS]


METHODS = {
    "random": {"method": "random"},
    "stratified": {"method": "stratified"},
    "stratified_by_city": {"method": "stratified", "column": "city"},
    "group": {"method": "group", "column": "customer"},
    "time": {"method": "time", "column": "at"},
}


def double_income(table: Any) -> Any:
    return table.mutate(double=table.income * 2)


def double_income_in_pandas(frame: Any, target: str) -> Any:
    assert target == "churned"
    return frame.assign(double=frame["income"] * 2)
