"""A dataset: Parquet files and a manifest, immutable and complete, or absent.

The manifest is written last and names the files, so a reader never sees half a dataset, and a writer that is killed
leaves only files that no manifest names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_provider_mlops.data import parquet_file, storage
from airflow_provider_mlops.data.manifest import MANIFEST, Manifest
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError

if TYPE_CHECKING:
    import ibis
    import pyarrow


class Dataset(BaseModel):
    """A reference to a dataset, which XCom carries instead of rows.

    A field of this type also accepts the URI of a dataset, or of a single Parquet file from elsewhere.

    >>> from airflow_provider_mlops.data.dataset_writer import DatasetWriter
    >>> import pyarrow
    >>> with DatasetWriter("memory://doc/towns", "towns") as writer:
    ...     writer.write(pyarrow.table({"town": ["Rome", "Oslo"]}))
    ...     _ = writer.commit()
    >>> Dataset.at("memory://doc/towns").arrow()["town"].to_pylist()
    ['Rome', 'Oslo']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="URI of the dataset's directory, or of a single Parquet file.")
    name: str = Field(description="Name of the dataset.")
    rows: int = Field(description="Number of rows.")
    fingerprint: str = Field(description="Hash of the columns and the rows, regardless of the rows' order.")

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:
        return cls.at(value).model_dump() if isinstance(value, str) else value

    @classmethod
    def at(cls, uri: str) -> Self:
        """Return the dataset or the Parquet file at `uri`. Raises InvalidSpecError if it is missing or incomplete."""
        manifest = read_manifest(uri)
        return cls(uri=uri, name=manifest.name, rows=manifest.rows, fingerprint=manifest.fingerprint)

    @property
    def manifest(self) -> Manifest:
        """Manifest, read again at every access. Raises InvalidSpecError if the content has changed."""
        manifest = read_manifest(self.uri)
        if manifest.fingerprint != self.fingerprint:
            raise InvalidSpecError(
                "dataset",
                self.uri,
                f"its content changed (fingerprint {manifest.fingerprint}, expected {self.fingerprint}). "
                "Rerun the task that makes the dataset, and then this task",
            )
        return manifest

    def files(self) -> list[str]:
        """Return the URIs of the Parquet files."""
        files = self.manifest.files
        return [self.uri] if _is_parquet_file(self.uri) else [storage.join(self.uri, name) for name in files]

    def table(self, connection: ibis.BaseBackend | None = None) -> ibis.Table:
        """Return the rows as an Ibis table on `connection`, by default on DuckDB in bounded memory.

        Raises InvalidSpecError if a file is missing or damaged.
        """
        from airflow_provider_mlops.data import engine

        with self._explain_damaged_file():
            return engine.read_parquet(engine.connect() if connection is None else connection, self.files())

    def arrow(self, columns: list[str] | None = None) -> pyarrow.Table:
        """Return the rows in memory, in the order of the files.

        Raises InvalidSpecError if a file is missing or damaged.
        """
        import pyarrow

        from airflow_provider_mlops.data import parquet_read

        with self._explain_damaged_file():
            return pyarrow.concat_tables([parquet_read.read(uri, columns) for uri in self.files()])

    @contextmanager
    def _explain_damaged_file(self) -> Iterator[None]:
        """Turn an engine's error into one that names the file, if a file is the cause.

        If the storage does not respond, its own error is kept, since a retry can help.
        """
        try:
            yield
        except MlopsError:
            raise
        except Exception as error:
            for uri in self.files():
                damage = _find_damage(uri)
                if damage is not None:
                    raise InvalidSpecError(
                        "dataset", self.uri, f"its file {uri} {damage}. Run the task that writes the dataset again"
                    ) from error
            raise


def read_manifest(uri: str) -> Manifest:
    """Return the manifest of the dataset at `uri`. Raises InvalidSpecError."""
    try:
        if _is_parquet_file(uri):
            return parquet_file.describe(uri)
        text = storage.read_text(storage.join(uri, MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        if storage.is_file(uri):
            hint = "the file is not Parquet. Convert it to Parquet, or extract it with ExtractDataOperator"
        elif storage.exists(uri):
            hint = "the dataset has no manifest, so its writer has not finished. Run the task that writes it again"
        else:
            hint = "there is no dataset at this URI. Check the URI, or run the task that writes the dataset"
        raise InvalidSpecError("dataset", uri, hint) from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise InvalidSpecError(
            "dataset",
            uri,
            f"its manifest is not valid ({pluralize(error.error_count(), 'error')}). Run the task that writes the "
            "dataset again",
        ) from error


def _is_parquet_file(uri: str) -> bool:
    return uri.endswith(".parquet")


def _find_damage(uri: str) -> str | None:
    """Return what is wrong with a Parquet file, as the end of a sentence, or None if it can be opened."""
    import pyarrow

    from airflow_provider_mlops.data import parquet_read

    try:
        with parquet_read.opened(uri):
            return None
    except FileNotFoundError:
        return "is missing"
    except pyarrow.ArrowInvalid as error:
        return f"is not a complete Parquet file ({error})"
