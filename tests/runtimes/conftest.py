"""An interpreter whose environment holds the package and its machine-learning requirements, but not Airflow."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.lifecycle.workspace import Workspace

STEP_PYTHON = os.environ.get("MLOPS_STEP_PYTHON") or str(Path(__file__).parents[2] / ".venv-step/bin/python")


@pytest.fixture(scope="session")
def step_python() -> str:
    """The interpreter's path. `make venv` makes it; MLOPS_STEP_PYTHON names another one."""
    if not os.access(STEP_PYTHON, os.X_OK):
        pytest.skip(f"NO ENVIRONMENT WITHOUT AIRFLOW at {STEP_PYTHON}: run `make venv`, or set MLOPS_STEP_PYTHON")
    return STEP_PYTHON


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    """A hundred rows."""
    with DatasetWriter(workspace.uri("datasets", "rows"), "rows") as writer:
        writer.write(pyarrow.table({"a": [float(value) for value in range(100)], "target": [0, 1] * 50}))
        return writer.commit()
