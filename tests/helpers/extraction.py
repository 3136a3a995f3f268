"""Short forms of the step extract, and sources for its tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas

from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace

SQL = {"kind": "sql", "query": "SELECT * FROM visits", "connection": "warehouse"}
FRAME = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "t": pandas.to_datetime(["2026-01-01"] * 3)})
JANUARY_3_TO_5 = {
    "interval_start": datetime(2026, 1, 3, tzinfo=UTC),
    "interval_end": datetime(2026, 1, 5, tzinfo=UTC),
}


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
