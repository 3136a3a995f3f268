"""A database of visits, and shortcuts to run the step extract, for its tests."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace

SQL = {"kind": "sql", "query": "SELECT * FROM visits", "connection": "warehouse"}
FRAME = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "t": pandas.to_datetime(["2026-01-01"] * 3)})
JANUARY_3_TO_5 = {
    "interval_start": datetime(2026, 1, 3, tzinfo=UTC),
    "interval_end": datetime(2026, 1, 5, tzinfo=UTC),
}


@pytest.fixture
def workspace(tmp_path: Path, task: TaskIdentity) -> Workspace:
    """A workspace without MLflow, which the step extract does not need."""
    secrets = {"connection_warehouse": f"sqlite:///{tmp_path / 'warehouse.db'}"}
    return Workspace.model_validate({"storage_uri": str(tmp_path / "mlops"), "task": task, "secrets": secrets})


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """A hundred daily visits. `late` has its first value in row 60, and `price` is fractional from row 80 on."""
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    connection.execute("CREATE TABLE visits (id INTEGER, day TEXT, late, price, name TEXT)")
    day = datetime(2026, 1, 1)
    rows = [
        (
            i,
            (day + timedelta(days=i)).isoformat(sep=" "),
            None if i < 60 else "late",
            i + 0.5 if i >= 80 else i,
            f"n{i % 3}",
        )
        for i in range(100)
    ]
    connection.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    return connection


def extract(workspace: Workspace, source: dict[str, Any], **fields: Any) -> ExtractResult:
    return STEP.run(STEP.parse({"dataset_name": "visits", "source": source, **fields}), workspace)


def source_of(frame: pandas.DataFrame) -> dict[str, Any]:
    def rows() -> pandas.DataFrame:
        return frame

    return {"kind": "code", "function": rows}


def in_run(workspace: Workspace, run_id: str, **task: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": run_id, **task})})


def column(result: ExtractResult, name: str) -> list[Any]:
    return result.dataset.arrow()[name].to_pylist()


def squares(connection: Any) -> Any:
    import ibis

    numbers = ibis.range(1000).unnest().name("n").as_table()
    return numbers.mutate(square=numbers.n * numbers.n)
