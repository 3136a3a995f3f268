"""Extract: a bundled dataset, rows from user code, limits on their number and age, and a step that is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import FRAME, SQL, column, extract, source_of


def test_a_bundled_dataset(workspace: Workspace) -> None:
    result = extract(workspace, {"kind": "sklearn", "name": "iris"})
    assert result.rows == 150
    assert "target" in result.dataset.arrow().column_names


def a_frame() -> pandas.DataFrame:
    return FRAME.astype({"b": "category"}).set_index(pandas.Index([9, 8, 7]))


def mixed_frame() -> pandas.DataFrame:
    return pandas.DataFrame({"a": [1, "x", None], 5: [1, 2, 3]})


def batches(watermark: Any = None) -> Iterator[Any]:
    assert watermark is None
    yield pyarrow.table({"a": pyarrow.nulls(2)})
    yield pandas.DataFrame({"a": [1, 2]})
    yield pyarrow.RecordBatch.from_pydict({"a": [2.5]})


@pytest.mark.parametrize(
    ("function", "name", "values"),
    [
        (a_frame, "b", ["x", "y", None]),
        (mixed_frame, "a", ["1", "x", None]),
        (mixed_frame, "5", [1, 2, 3]),
        (batches, "a", [None, None, 1.0, 2.0, 2.5]),
    ],
)
def test_rows_of_user_code(workspace: Workspace, function: Any, name: str, values: list[Any]) -> None:
    result = extract(workspace, {"kind": "code", "function": function})
    assert column(result, name) == values
    assert "__index_level_0__" not in result.dataset.arrow().column_names


@pytest.mark.parametrize("fields", [{"min_rows": 101}, {"max_rows": 99}])
def test_too_few_and_too_many_rows_are_rejected(
    workspace: Workspace, database: sqlite3.Connection, fields: dict[str, int]
) -> None:
    with pytest.raises(RejectedError, match=f"Rejected dataset 'visits': {next(iter(fields))}: .* rows, allowed"):
        extract(workspace, SQL, batch_rows=10, **fields)
    with pytest.raises(InvalidSpecError):
        Dataset.at(workspace.uri("datasets", "visits"))


def test_data_that_is_too_old_is_rejected(workspace: Workspace) -> None:
    def rows(age: timedelta) -> dict[str, Any]:
        moment = datetime.now(UTC) - age
        return source_of(pandas.DataFrame({"at": [moment, moment - timedelta(days=9)]}))

    freshness = {"column": "at", "max_age": "P1D"}
    assert extract(workspace, rows(timedelta(hours=23)), freshness=freshness).rows == 2
    with pytest.raises(RejectedError, match=r"freshness: the newest row is 1 day 1 hour old .* allowed 1 day\."):
        extract(workspace, rows(timedelta(hours=25)), freshness=freshness)
    empty = source_of(pandas.DataFrame({"at": [None]}))
    with pytest.raises(RejectedError, match=r"freshness: .*'at'.*age of the data is unknown"):
        extract(workspace, empty, freshness=freshness)


def test_a_source_without_rows_and_column_types_is_rejected(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(RejectedError, match="schema: the source has no rows"):
        extract(workspace, {"kind": "files", "paths": [str(tmp_path / "empty.csv")]}, min_rows=0)


SLOW_ROWS = """
def rows():
    import time, pyarrow, pathlib
    for index in range(50):
        yield pyarrow.table({"a": list(range(index * 1000, index * 1000 + 1000))})
        pathlib.Path(MARK).write_text(str(index))
        if index == STOP:
            time.sleep(600)
"""


def test_a_step_killed_half_way_leaves_nothing_visible_and_its_retry_one_dataset(
    workspace: Workspace, tmp_path: Path
) -> None:
    def request(stop: int) -> list[str]:
        source = SLOW_ROWS.replace("MARK", repr(str(tmp_path / "mark"))).replace("STOP", str(stop))
        spec = {"dataset_name": "rows", "source": {"kind": "code", "function": {"source": source, "name": "rows"}}}
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"step": "extract", "spec": spec, "workspace": workspace.model_dump(mode="json")}))
        module = "airflow_provider_mlops.lifecycle"
        return [sys.executable, "-m", module, str(path), str(tmp_path / "result.json")]

    uri = workspace.uri("datasets", "rows")
    with subprocess.Popen(request(20), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not ((tmp_path / "mark").exists() and (tmp_path / "mark").read_text() == "20"):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(InvalidSpecError, match="manifest"):
        Dataset.at(uri)
    assert not (tmp_path / "result.json").exists()
    subprocess.run(request(-1), check=True, stdout=subprocess.DEVNULL)
    dataset = Dataset.at(uri)
    assert dataset.arrow()["a"].to_pylist() == list(range(50_000))
    assert len(list(Path(workspace.storage_uri).rglob("manifest.json"))) == 1
