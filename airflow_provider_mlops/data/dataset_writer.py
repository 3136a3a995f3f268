"""Writes a dataset: Parquet files first, the manifest last."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Self

from pydantic import JsonValue

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset, read_manifest
from airflow_provider_mlops.data.manifest import MANIFEST, Column, Manifest
from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

    from airflow_provider_mlops.data.fingerprint import Fingerprint

_ABANDONED = timedelta(hours=24)
_ROWS_PER_BATCH = 100_000


@dataclass
class _Part:
    """One Parquet file of the dataset that is being written."""

    name: str
    schema: pyarrow.Schema
    fingerprint: Fingerprint
    bytes: int = 0
    rows: int = 0


@dataclass
class _OpenFile:
    """The Parquet file that rows are being appended to."""

    file: IO[bytes]
    writer: pyarrow.parquet.ParquetWriter


class DatasetWriter:
    """Writes the batches of one dataset and makes it visible on `commit`.

    Writing to the URI of an existing dataset replaces it: the old one stays readable until the new manifest is in
    place. Leaving the `with` block without a commit leaves nothing visible.

    Parameters
    ----------
    uri
        URI of the dataset's directory.
    name
        Name of the dataset.
    widen
        Whether batches may differ in their columns and types. The dataset then gets the narrowest schema that holds all
        of them: files that were written with a narrower one are rewritten, batch by batch, on commit.
    rows_per_file
        Number of rows at which a file is closed, so that engines read the files of a large dataset in parallel.

    Examples
    --------
    >>> import pyarrow
    >>> with DatasetWriter("memory://doc/numbers", "numbers") as writer:
    ...     writer.write(pyarrow.table({"a": [1, 2, 3]}))
    ...     dataset = writer.commit()
    >>> dataset.rows
    3
    """

    def __init__(self, uri: str, name: str, *, widen: bool = False, rows_per_file: int = 2_000_000) -> None:
        self.uri = uri
        self.name = name
        self.rows = 0
        self.schema: pyarrow.Schema | None = None
        self._widen = widen
        self._rows_per_file = rows_per_file
        self._parts: list[_Part] = []
        self._created: list[str] = []
        self._token = secrets.token_hex(4)
        self._open: _OpenFile | None = None
        self._committed = False

    def __enter__(self) -> Self:
        fs, path = storage.locate(self.uri)
        fs.makedirs(path, exist_ok=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_file()
        if not self._committed:
            for name in self._created:
                storage.delete(storage.join(self.uri, name))

    def write(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Append rows. Without `widen`, raises InvalidSpecError if the schema differs from the first batch's."""
        import pyarrow

        from airflow_provider_mlops.data.schema import conform, wider

        table = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
        table = table.replace_schema_metadata(None)
        repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        if repeated:
            raise InvalidSpecError("schema", repeated, "column names must be unique. Rename the repeated ones")
        if self.schema is None:
            self.schema = table.schema
        elif table.schema != self.schema:
            if not self._widen:
                raise InvalidSpecError(
                    "schema", str(table.schema), f"every batch must have the schema of the first batch: {self.schema}"
                )
            schema = wider(self.schema, table.schema)
            if schema != self.schema:
                self._close_file()
                self.schema = schema
            table = conform(table, schema)
        self._append(table, self.schema)
        if self._parts[-1].rows >= self._rows_per_file:
            self._close_file()

    def commit(
        self,
        *,
        source: dict[str, JsonValue] | None = None,
        interval: tuple[datetime, datetime] | None = None,
        watermark: JsonValue = None,
        parents: tuple[str, ...] = (),
        spec_digest: str | None = None,
        created_by: TaskIdentity | None = None,
    ) -> Dataset:
        """Make the dataset visible and return it. The arguments are fields of `Manifest`.

        Raises InvalidSpecError if no batch was written. A batch without rows is enough.
        """
        from airflow_provider_mlops.data.fingerprint import Fingerprint

        if self.schema is None:
            raise InvalidSpecError(
                "dataset", self.uri, "the dataset has no schema yet. Write at least one batch before the commit"
            )
        self._close_file()
        self._rewrite_narrow_files(self.schema)
        total = Fingerprint()
        for part in self._parts:
            total.add(part.fingerprint)
        files = tuple(part.name for part in self._parts)
        self._require_files(files)
        replaced = _files_of_manifest(self.uri)
        manifest = Manifest(
            name=self.name,
            rows=self.rows,
            fingerprint=total.hexdigest(),
            columns=tuple(Column(name=field.name, type=str(field.type)) for field in self.schema),
            files=files,
            bytes=sum(part.bytes for part in self._parts),
            source=source or {},
            interval=interval,
            watermark=watermark,
            parents=parents,
            spec_digest=spec_digest,
            created_at=datetime.now(UTC),
            created_by=created_by,
        )
        storage.write_text(storage.join(self.uri, MANIFEST), manifest.model_dump_json(indent=2))
        self._committed = True
        self._sweep(kept={MANIFEST, *files}, replaced=replaced)
        return Dataset(uri=self.uri, name=self.name, rows=self.rows, fingerprint=manifest.fingerprint)

    def _open_file(self, schema: pyarrow.Schema) -> _OpenFile:
        import pyarrow.parquet

        from airflow_provider_mlops.data.fingerprint import Fingerprint

        name = f"part-{self._token}-{len(self._created):05d}.parquet"
        self._created.append(name)
        self._parts.append(_Part(name, schema, Fingerprint()))
        fs, path = storage.locate(storage.join(self.uri, name))
        file = fs.open(path, "wb")
        self._open = _OpenFile(file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd"))
        return self._open

    def _append(self, table: pyarrow.Table, schema: pyarrow.Schema) -> None:
        target = self._open or self._open_file(schema)
        target.writer.write_table(table)
        self._parts[-1].fingerprint.update(table)
        self._parts[-1].rows += table.num_rows
        self.rows += table.num_rows

    def _close_file(self) -> None:
        if self._open is not None:
            self._open.writer.close()
            self._parts[-1].bytes = self._open.file.tell()
            self._open.file.close()
            self._open = None

    def _rewrite_narrow_files(self, schema: pyarrow.Schema) -> None:
        """Rewrite the files that were closed before the schema was widened."""
        import pyarrow

        from airflow_provider_mlops.data import parquet_read
        from airflow_provider_mlops.data.schema import conform

        parts, self._parts, self.rows = self._parts, [], 0
        for part in parts:
            if part.schema == schema:
                self._parts.append(part)
                self.rows += part.rows
                continue
            uri = storage.join(self.uri, part.name)
            self._open_file(schema)
            for batch in parquet_read.batches(uri, _ROWS_PER_BATCH):
                self._append(conform(pyarrow.Table.from_batches([batch]), schema), schema)
            self._close_file()
            storage.delete(uri)

    def _require_files(self, files: tuple[str, ...]) -> None:
        missing = sorted(set(files) - set(storage.names(self.uri)))
        if missing:
            raise RuntimeError(
                f"Another writer replaced the dataset at {self.uri} and deleted {list_names(missing)}. Try again."
            )

    def _sweep(self, kept: set[str], replaced: set[str]) -> None:
        """Delete the files of the dataset that this one replaces, and those that a killed writer left long ago.

        Newer files that no manifest names may belong to another writer that is still running, so they are kept.
        """
        for name in storage.names(self.uri):
            if name in kept:
                continue
            uri = storage.join(self.uri, name)
            if name in replaced or storage.age(uri) > _ABANDONED:
                storage.delete(uri)


def _files_of_manifest(uri: str) -> set[str]:
    """Return the names of the files of the dataset at `uri`; none if there is no readable dataset."""
    try:
        return set(read_manifest(uri).files)
    except InvalidSpecError:
        return set()
