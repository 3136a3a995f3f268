"""Datasets of people, suites of expectations, and the step that validates the one with the other."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pyarrow

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.lifecycle.validate_data.spec import ValidateDataResult
from airflow_provider_mlops.lifecycle.validate_data.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace


def write(workspace: Workspace, table: pyarrow.Table, name: str = "people") -> Dataset:
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(table)
        return writer.commit()


def people(rows: int = 500, seed: int = 0) -> pyarrow.Table:
    random = numpy.random.default_rng(seed)
    age = random.normal(45, 12, rows).clip(18, 90)
    return pyarrow.table(
        {
            "age": age,
            "income": pyarrow.array(random.lognormal(10, 1, rows), mask=random.random(rows) < 0.1),
            "visits": random.integers(0, 15, rows),
            "city": random.choice(["Ulm", "Bonn", "Kiel"], rows, p=[0.5, 0.3, 0.2]),
            "member": random.random(rows) < 0.3,
            "joined": pyarrow.array(
                [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * rows, pyarrow.timestamp("us", tz="UTC")
            ),
            "born": pyarrow.array([datetime.date(1980, 1, 1)] * rows),
            "balance": pyarrow.array([Decimal("1.50"), Decimal("2.50")] * (rows // 2), pyarrow.decimal128(10, 2)),
        }
    )


def suite_file(tmp_path: Path, *expectations: dict[str, Any]) -> str:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "people", "expectations": list(expectations), "meta": {}}))
    return str(path)


def between(column: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    kwargs = {"column": column, "min_value": low, "max_value": high, **more.pop("kwargs", {})}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **more}


def run(workspace: Workspace, dataset: Dataset, **fields: Any) -> ValidateDataResult:
    return STEP.run(STEP.parse({"dataset": dataset, **fields}), workspace)
