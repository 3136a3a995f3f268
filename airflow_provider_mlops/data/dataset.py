"""A dataset: Parquet files and a manifest, immutable and complete, or absent.

The manifest is written last and names the files, so a reader never sees half of a dataset, and a
writer that is killed leaves only files that no manifest names.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis
    import pyarrow

MANIFEST = "manifest.json"


class Column(BaseModel):
    """A column's name and its Arrow type, as Arrow writes it: `double`, `string`, `timestamp[us, tz=UTC]`."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str


class Manifest(BaseModel):
    """What is known of a dataset; the file that makes it visible."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    fingerprint: str
    columns: tuple[Column, ...]
    files: tuple[str, ...]
    bytes: int
    source: dict[str, JsonValue] = Field(default_factory=dict)
    interval: tuple[datetime, datetime] | None = None
    watermark: JsonValue = None
    parents: tuple[str, ...] = ()
    spec_digest: str | None = None
    created_at: datetime
    created_by: TaskIdentity | None = None


class Dataset(BaseModel):
    """A reference to a dataset: what XCom carries in place of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    name: str
    rows: int
    fingerprint: str

    @classmethod
    def at(cls, uri: str) -> Self:
        """The dataset that lies at `uri`. Raises InvalidSpecError if none does, or only half of one."""
        manifest = read_manifest(uri)
        return cls(uri=uri, name=manifest.name, rows=manifest.rows, fingerprint=manifest.fingerprint)

    @property
    def manifest(self) -> Manifest:
        """Read anew at every call. Raises InvalidSpecError if the content is no longer what this refers to."""
        manifest = read_manifest(self.uri)
        if manifest.fingerprint != self.fingerprint:
            raise InvalidSpecError(
                "dataset",
                self.uri,
                f"its content changed (fingerprint {manifest.fingerprint}, expected {self.fingerprint}): "
                "run the task that made it again, and then this one",
            )
        return manifest

    def files(self) -> list[str]:
        """The URIs of the Parquet files."""
        return [storage.join(self.uri, name) for name in self.manifest.files]

    def table(self, connection: ibis.BaseBackend | None = None) -> ibis.Table:
        """The rows as an Ibis table on `connection`, by default on DuckDB in bounded memory."""
        from airflow_provider_mlops.data import engine

        return engine.read_dataset(self, connection)

    def arrow(self, columns: list[str] | None = None) -> pyarrow.Table:
        """The rows in memory, in the order of the files."""
        import pyarrow
        import pyarrow.parquet

        tables = []
        for uri in self.files():
            fs, path = storage.locate(uri)
            with fs.open(path, "rb") as file:
                tables.append(pyarrow.parquet.read_table(file, columns=columns))
        return pyarrow.concat_tables(tables)


def read_manifest(uri: str) -> Manifest:
    """The manifest at the dataset URI. Raises InvalidSpecError."""
    try:
        text = storage.read_text(storage.join(uri, MANIFEST))
    except FileNotFoundError:
        if storage.exists(uri):
            way_out = "it has no manifest, so its writer has not finished: run the task that makes it again"
        else:
            way_out = "nothing lies there: run the task that makes it first, or correct the URI"
        raise InvalidSpecError("dataset", uri, way_out) from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise InvalidSpecError(
            "dataset", uri, f"its manifest cannot be read ({error.error_count()} errors): make the dataset again"
        ) from error


class DatasetWriter:
    """Writes the batches of one dataset and makes it visible on `commit`.

    Writing over a dataset that is there already replaces it: the old one is readable until the new
    manifest is in place. Leaving the `with` block without a commit leaves nothing visible.

    >>> import pyarrow
    >>> with DatasetWriter("memory://doc/numbers", "numbers") as writer:
    ...     writer.write(pyarrow.table({"a": [1, 2, 3]}))
    ...     dataset = writer.commit()
    >>> dataset.rows
    3
    """

    def __init__(self, uri: str, name: str) -> None:
        self.uri = uri
        self.name = name
        self.rows = 0
        self._files: list[str] = []
        self._bytes = 0
        self._token = secrets.token_hex(4)
        self._fingerprint: Fingerprint | None = None
        self._schema: pyarrow.Schema | None = None
        self._committed = False

    def __enter__(self) -> Self:
        fs, path = storage.locate(self.uri)
        fs.makedirs(path, exist_ok=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_file()
        if not self._committed:
            for name in self._files:
                storage.delete(storage.join(self.uri, name))

    # A file is closed at this many rows, so that engines read the files of a large dataset in parallel.
    _ROWS_PER_FILE = 2_000_000

    def write(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Append rows. Raises InvalidSpecError if the schema differs from the first batch's."""
        import pyarrow
        import pyarrow.parquet

        from airflow_provider_mlops.data.fingerprint import Fingerprint

        if self._schema is None:
            self._schema = batch.schema.remove_metadata()
            self._fingerprint = Fingerprint()
            self._writer: pyarrow.parquet.ParquetWriter | None = None
        table = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
        table = table.replace_schema_metadata(None)
        if table.schema != self._schema:
            raise InvalidSpecError(
                "schema", str(table.schema), f"every batch must have the first batch's schema: {self._schema}"
            )
        assert self._fingerprint is not None
        self._fingerprint.update(table)
        if self._writer is None:
            name = f"part-{self._token}-{len(self._files):05d}.parquet"
            self._files.append(name)
            fs, path = storage.locate(storage.join(self.uri, name))
            self._file = fs.open(path, "wb")
            self._file_rows = 0
            self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema, compression="zstd")
        self._writer.write_table(table)
        self.rows += table.num_rows
        self._file_rows += table.num_rows
        if self._file_rows >= self._ROWS_PER_FILE:
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
        """Make the dataset visible and return it. At least one batch, which may have no rows, must have come."""
        if self._schema is None or self._fingerprint is None:
            raise InvalidSpecError("dataset", self.uri, "write at least one batch, so that its schema is known")
        self._close_file()
        manifest = Manifest(
            name=self.name,
            rows=self.rows,
            fingerprint=self._fingerprint.hexdigest(),
            columns=tuple(Column(name=field.name, type=str(field.type)) for field in self._schema),
            files=tuple(self._files),
            bytes=self._bytes,
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
        kept = {MANIFEST, *self._files}
        for name in storage.names(self.uri):
            if name not in kept:
                storage.delete(storage.join(self.uri, name))
        return Dataset(uri=self.uri, name=self.name, rows=self.rows, fingerprint=manifest.fingerprint)

    def _close_file(self) -> None:
        writer = getattr(self, "_writer", None)
        if writer is not None:
            writer.close()
            self._bytes += self._file.tell()
            self._file.close()
            self._writer = None


if TYPE_CHECKING:
    from airflow_provider_mlops.data.fingerprint import Fingerprint
