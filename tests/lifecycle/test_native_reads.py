"""Parquet is read from native files: a Python file in Arrow's threads aborts about one in twenty processes at exit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_mlops.lifecycle.extract.files import FilesReader
from airflow_provider_mlops.lifecycle.extract.sources import FilesSource
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput
from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """From what kind of object each Parquet file was read, as the real reader was given it."""
    seen: list[type] = []
    real = pyarrow.parquet.ParquetFile.__init__

    def init(self: Any, source: Any, *arguments: Any, **keywords: Any) -> None:
        seen.append(type(source))
        real(self, source, *arguments, **keywords)

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "__init__", init)
    return seen


def test_extracted_files(tmp_path: Path, opened: list[type]) -> None:
    path = str(tmp_path / "rows.parquet")
    table = pyarrow.table({"a": range(10)})
    pyarrow.parquet.write_table(table, path)
    read = list(FilesReader(FilesSource(kind="files", paths=path)).read(4))
    assert [part.num_rows for part in read] == [0, 4, 4, 2]
    assert pyarrow.concat_tables(read) == table
    assert set(opened) == {pyarrow.OSFile}


def test_the_predictions_of_an_evaluation(tmp_path: Path, opened: list[type]) -> None:
    uri = str(tmp_path / "predictions.parquet")
    truth = np.array([0, 1, 1])
    model = ModelOutput(truth[::-1], np.array([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]))
    groups = {"town": np.array(["Rome", "Oslo", "Rome"], dtype=object)}
    RowPredictions("classification", ("no", "yes"), truth, {"model": model}, groups).write(uri)
    read = RowPredictions.read(uri, "classification", ("no", "yes"))
    np.testing.assert_array_equal(read.truth, truth)
    np.testing.assert_array_equal(read.models["model"].value, model.value)
    np.testing.assert_array_equal(read.models["model"].probability, model.probability)
    assert read.groups["town"].tolist() == ["Rome", "Oslo", "Rome"]
    assert opened == [pyarrow.OSFile]
