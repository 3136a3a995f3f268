"""A workspace without MLflow, and a database of visits."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, task: TaskIdentity) -> Workspace:
    """A workspace without MLflow, which extract does not need."""
    secrets = {"connection_warehouse": f"sqlite:///{tmp_path / 'warehouse.db'}"}
    return Workspace.model_validate({"storage_uri": str(tmp_path / "mlops"), "task": task, "secrets": secrets})


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """A hundred visits, one a day; `late` has its first value in row 60, and `price` turns fractional in row 80."""
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
