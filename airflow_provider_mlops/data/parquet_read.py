"""Reads Parquet files without letting Arrow's threads hold Python objects.

Arrow's threads release a file slightly later than the reader does. If the file is a Python object and the interpreter
exits in between, the process aborts: this happened in about one of twenty processes that had just read a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import storage

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile


@contextmanager
def opened(uri: str) -> Iterator[ParquetFile]:
    """Open the file at `uri`. Raises FileNotFoundError, or pyarrow.ArrowInvalid if it is not Parquet."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    if storage.is_local(uri):
        with pyarrow.OSFile(storage.local_path(uri)) as native:
            yield ParquetFile(native)
        return
    fs, path = storage.locate(uri)
    with fs.open(path, "rb") as file:
        yield ParquetFile(file)


def read(uri: str, columns: list[str] | None = None) -> pyarrow.Table:
    """Return all rows of the file; with `columns`, only these columns, in this order."""
    with opened(uri) as file:
        table: pyarrow.Table = file.read(columns=columns, use_threads=storage.is_local(uri))
        return table if columns is None else table.select(columns)


def batches(uri: str, rows: int, columns: list[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of the file in order, at most `rows` at a time; with `columns`, only these, in this order."""
    with opened(uri) as file:
        for batch in file.iter_batches(rows, columns=columns, use_threads=storage.is_local(uri)):
            yield batch if columns is None else batch.select(columns)
