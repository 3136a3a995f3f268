"""The rows to replay, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow
import pyarrow.csv

from airflow_provider_mlops.data import parquet_read, storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_ROWS = 1000
"""Number of rows that are read at once: small enough that reading them hardly delays a request."""


class Source:
    """A dataset, or a Parquet or CSV file. Raises InvalidSpecError if it does not exist or has no rows.

    Parameters
    ----------
    dataset
        Dataset, its URI, or the path or URI of a file.
    """

    def __init__(self, dataset: str | Dataset) -> None:
        self.name = dataset if isinstance(dataset, str) else dataset.uri
        self._table = _csv(dataset) if isinstance(dataset, str) and dataset.lower().endswith(".csv") else None
        self._files: list[str] = []
        if self._table is None:
            stored = Dataset.at(dataset) if isinstance(dataset, str) else dataset
            self._files = stored.files()
            self.rows = stored.rows
            with parquet_read.opened(self._files[0]) as file:
                self.schema: pyarrow.Schema = file.schema_arrow
        else:
            self.rows = self._table.num_rows
            self.schema = self._table.schema
        if self.rows == 0:
            raise InvalidSpecError("dataset", self.name, "the dataset has no rows to send. Choose another dataset")

    def batches(self, columns: list[str]) -> Iterator[RecordBatch]:
        """Yield the rows of these columns in small batches."""
        if self._table is not None:
            yield from self._table.select(columns).to_batches(_ROWS)
        for uri in self._files:
            yield from parquet_read.batches(uri, _ROWS, columns)


def _csv(uri: str) -> pyarrow.Table:
    fs, path = storage.locate(uri)
    try:
        with fs.open(path, "rb") as file:
            return pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True))
    except FileNotFoundError:
        raise InvalidSpecError("dataset", uri, "the file does not exist. Check the path") from None
    except pyarrow.ArrowInvalid as error:
        hint = f"the file cannot be read as CSV ({error}). Correct it, or extract it to a dataset first"
        raise InvalidSpecError("dataset", uri, hint) from error
