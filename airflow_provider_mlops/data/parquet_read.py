"""Reads Parquet files, so that no thread of Arrow's holds a Python object.

Arrow's threads let go of a file somewhat later than the reader does. If that file is a Python object and the
interpreter ends in between, the process is aborted: about one in twenty processes that had just read a dataset.
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
    """The file at `uri`. Raises FileNotFoundError, or pyarrow.ArrowInvalid if it is not Parquet."""
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
    """All rows of the file; of `columns`, if given, in that order."""
    with opened(uri) as file:
        table: pyarrow.Table = file.read(columns=columns, use_threads=storage.is_local(uri))
        return table if columns is None else table.select(columns)


def batches(uri: str, rows: int, columns: list[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of the file in its order, at most `rows` at a time; of `columns`, if given, in that order."""
    with opened(uri) as file:
        for batch in file.iter_batches(rows, columns=columns, use_threads=storage.is_local(uri)):
            yield batch if columns is None else batch.select(columns)
