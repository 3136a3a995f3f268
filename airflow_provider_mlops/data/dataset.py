"""A dataset: Parquet files and a manifest, immutable and complete, or absent.

The manifest is written last and names the files, so a reader never sees half of a dataset, and a
writer that is killed leaves only files that no manifest names.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from airflow_provider_mlops.data import parquet_file, storage
from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.data.manifest import MANIFEST, Column, Manifest
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError

if TYPE_CHECKING:
    import ibis
    import pyarrow
    import pyarrow.parquet

    from airflow_provider_mlops.data.fingerprint import Fingerprint

_ABANDONED = timedelta(hours=24)


class Dataset(BaseModel):
    """A reference to a dataset: what XCom carries in place of rows.

    Where a Dataset is wanted, the URI of one will do, and so will the URI of a single Parquet file that
    somebody else wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="URI of the directory with the Parquet files and the manifest.")
    name: str = Field(description="Name of the dataset.")
    rows: int = Field(description="Number of rows.")
    fingerprint: str = Field(description="Hash of the content. The same rows in any order have the same fingerprint.")

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:
        return cls.at(value).model_dump() if isinstance(value, str) else value

    @classmethod
    def at(cls, uri: str) -> Self:
        """The dataset or the Parquet file that lies at `uri`. Raises InvalidSpecError if none does, or half of one."""
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
        directory = self.uri.rpartition("/")[0] if _is_parquet_file(self.uri) else self.uri
        return [storage.join(directory, name) for name in self.manifest.files]

    def table(self, connection: ibis.BaseBackend | None = None) -> ibis.Table:
        """The rows as an Ibis table on `connection`, by default on DuckDB in bounded memory.

        Raises InvalidSpecError if a file is gone or damaged.
        """
        from airflow_provider_mlops.data import engine

        with self._explain_damaged_file():
            return engine.read_parquet(engine.connect() if connection is None else connection, self.files())

    def arrow(self, columns: list[str] | None = None) -> pyarrow.Table:
        """The rows in memory, in the order of the files. Raises InvalidSpecError if a file is gone or damaged."""
        import pyarrow

        from airflow_provider_mlops.data import parquet_read

        with self._explain_damaged_file():
            return pyarrow.concat_tables([parquet_read.read(uri, columns) for uri in self.files()])

    @contextmanager
    def _explain_damaged_file(self) -> Iterator[None]:
        """Turn an error of whichever engine into one about the file, if a file is what is wrong.

        A storage that does not answer keeps its error, since a retry can help there.
        """
        try:
            yield
        except MlopsError:
            raise
        except Exception as error:
            for uri in self.files():
                damage = _damage(uri)
                if damage is not None:
                    raise InvalidSpecError(
                        "dataset", self.uri, f"its file {uri} {damage}: run the task that makes it again"
                    ) from error
            raise


def _damage(uri: str) -> str | None:
    import pyarrow

    from airflow_provider_mlops.data import parquet_read

    try:
        with parquet_read.opened(uri):
            return None
    except FileNotFoundError:
        return "is gone"
    except pyarrow.ArrowInvalid as error:
        return f"is no whole Parquet file ({error})"


def _is_parquet_file(uri: str) -> bool:
    return uri.endswith(".parquet")


def read_manifest(uri: str) -> Manifest:
    """The manifest at the dataset URI. Raises InvalidSpecError."""
    try:
        if _is_parquet_file(uri):
            return parquet_file.describe(uri)
        text = storage.read_text(storage.join(uri, MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        if storage.is_file(uri):
            hint = "it is a file, but not Parquet: make a dataset of it with ExtractDataOperator, or convert it"
        elif storage.exists(uri):
            hint = "it has no manifest, so its writer has not finished: run the task that makes it again"
        else:
            hint = "nothing lies there: run the task that makes it first, or correct the URI"
        raise InvalidSpecError("dataset", uri, hint) from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise InvalidSpecError(
            "dataset", uri, f"its manifest cannot be read ({error.error_count()} errors): make the dataset again"
        ) from error


@dataclass
class _Part:
    """One Parquet file of a dataset in the making."""

    name: str
    schema: pyarrow.Schema
    fingerprint: Fingerprint
    bytes: int = 0
    rows: int = 0


class DatasetWriter:
    """Writes the batches of one dataset and makes it visible on `commit`.

    Writing over a dataset that is there already replaces it: the old one is readable until the new
    manifest is in place. Leaving the `with` block without a commit leaves nothing visible.

    :param uri: where the dataset is to lie.
    :param name: what it is called.
    :param widen: whether batches may differ in their columns and types. The dataset then gets the narrowest schema
        that holds them all: files that were written under a narrower one are written again, batch by batch, on commit.

    >>> import pyarrow
    >>> with DatasetWriter("memory://doc/numbers", "numbers") as writer:
    ...     writer.write(pyarrow.table({"a": [1, 2, 3]}))
    ...     dataset = writer.commit()
    >>> dataset.rows
    3
    """

    # A file is closed at this many rows, so that engines read the files of a large dataset in parallel.
    _ROWS_PER_FILE = 2_000_000
    _ROWS_PER_BATCH = 100_000

    def __init__(self, uri: str, name: str, *, widen: bool = False) -> None:
        self.uri = uri
        self.name = name
        self.rows = 0
        self.schema: pyarrow.Schema | None = None
        self._widen = widen
        self._parts: list[_Part] = []
        self._made: list[str] = []
        self._token = secrets.token_hex(4)
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._file: Any = None
        self._committed = False

    def __enter__(self) -> Self:
        fs, path = storage.locate(self.uri)
        fs.makedirs(path, exist_ok=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_file()
        if not self._committed:
            for name in self._made:
                storage.delete(storage.join(self.uri, name))

    def write(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Append rows. Without `widen`, raises InvalidSpecError if the schema differs from the first batch's."""
        import pyarrow

        from airflow_provider_mlops.data.schema import conform, wider

        table = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
        table = table.replace_schema_metadata(None)
        repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        if repeated:
            raise InvalidSpecError("schema", repeated, "every column must have a name of its own: rename the others")
        if self.schema is None:
            self.schema = table.schema
        elif table.schema != self.schema:
            if not self._widen:
                raise InvalidSpecError(
                    "schema", str(table.schema), f"every batch must have the first batch's schema: {self.schema}"
                )
            schema = wider(self.schema, table.schema)
            if schema != self.schema:
                self._close_file()
                self.schema = schema
            table = conform(table, schema)
        if self._writer is None:
            self._open_file()
        self._append(table)
        if self._parts[-1].rows >= self._ROWS_PER_FILE:
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
        from airflow_provider_mlops.data.fingerprint import Fingerprint

        if self.schema is None:
            raise InvalidSpecError("dataset", self.uri, "write at least one batch, so that its schema is known")
        self._close_file()
        self._rewrite_narrow_files()
        whole = Fingerprint()
        for part in self._parts:
            whole.add(part.fingerprint)
        files = tuple(part.name for part in self._parts)
        missing = sorted(set(files) - set(storage.names(self.uri)))
        if missing:
            raise RuntimeError(
                f"Another writer replaced the dataset at {self.uri} and removed {', '.join(missing)}: try again"
            )
        before = _files_of_manifest(self.uri)
        manifest = Manifest(
            name=self.name,
            rows=self.rows,
            fingerprint=whole.hexdigest(),
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
        self._sweep(kept={MANIFEST, *files}, replaced=before)
        return Dataset(uri=self.uri, name=self.name, rows=self.rows, fingerprint=manifest.fingerprint)

    def _open_file(self) -> None:
        import pyarrow.parquet

        from airflow_provider_mlops.data.fingerprint import Fingerprint

        name = f"part-{self._token}-{len(self._made):05d}.parquet"
        self._made.append(name)
        self._parts.append(_Part(name, self.schema, Fingerprint()))
        fs, path = storage.locate(storage.join(self.uri, name))
        self._file = fs.open(path, "wb")
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self.schema, compression="zstd")

    def _append(self, table: pyarrow.Table) -> None:
        assert self._writer is not None
        self._writer.write_table(table)
        self._parts[-1].fingerprint.update(table)
        self._parts[-1].rows += table.num_rows
        self.rows += table.num_rows

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._parts[-1].bytes = self._file.tell()
            self._file.close()

    def _rewrite_narrow_files(self) -> None:
        """Write the files again whose schema was widened after they were closed."""
        import pyarrow

        from airflow_provider_mlops.data import parquet_read
        from airflow_provider_mlops.data.schema import conform

        assert self.schema is not None
        parts, self._parts, self.rows = self._parts, [], 0
        for part in parts:
            if part.schema == self.schema:
                self._parts.append(part)
                self.rows += part.rows
                continue
            uri = storage.join(self.uri, part.name)
            self._open_file()
            for batch in parquet_read.batches(uri, self._ROWS_PER_BATCH):
                self._append(conform(pyarrow.Table.from_batches([batch]), self.schema))
            self._close_file()
            storage.delete(uri)

    def _sweep(self, kept: set[str], replaced: set[str]) -> None:
        """Remove the files of the dataset that this one replaces, and those that a killed writer left long ago.

        Younger files that no manifest names may be another writer's at work, and stay.
        """
        for name in storage.names(self.uri):
            if name in kept:
                continue
            uri = storage.join(self.uri, name)
            if name in replaced or storage.age(uri) > _ABANDONED:
                storage.delete(uri)


def _files_of_manifest(uri: str) -> set[str]:
    """The files of the dataset at `uri`; none if there is no readable one."""
    try:
        return set(read_manifest(uri).files)
    except InvalidSpecError:
        return set()
