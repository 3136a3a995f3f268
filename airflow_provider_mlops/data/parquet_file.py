"""A Parquet file from elsewhere, described as a dataset, so that existing DAGs can add a single step."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.manifest import Column, Manifest
from airflow_provider_mlops.errors import InvalidSpecError

_ROWS_PER_BATCH = 100_000


def describe(uri: str) -> Manifest:
    """Return the manifest that the file at `uri` would have. Its rows are read once, in batches.

    Raises
    ------
    FileNotFoundError
        There is no file at `uri`.
    InvalidSpecError
        The file is not Parquet.
    """
    fs, path = storage.locate(uri)
    return _describe(uri, str(fs.ukey(path)))


@lru_cache(maxsize=16)
def _describe(uri: str, state: str) -> Manifest:
    # `state` changes with the file, so that a file that was written again is read again.
    import pyarrow

    from airflow_provider_mlops.data import parquet_read
    from airflow_provider_mlops.data.fingerprint import Fingerprint
    from airflow_provider_mlops.data.schema import plain

    try:
        with parquet_read.opened(uri) as file:
            schema = file.schema_arrow.remove_metadata()
        fingerprint = Fingerprint()
        rows = 0
        fingerprint.update(plain(schema.empty_table()))
        for batch in parquet_read.batches(uri, _ROWS_PER_BATCH):
            # In the types that an extraction would have written, so that the same data has the same fingerprint.
            fingerprint.update(plain(batch))
            rows += batch.num_rows
    except pyarrow.ArrowInvalid as error:
        raise InvalidSpecError(
            "dataset", uri, f"the file is not valid Parquet ({error}). Write the file again"
        ) from error
    fs, path = storage.locate(uri)
    name = uri.rsplit("/", 1)[-1]
    return Manifest(
        name=name.removesuffix(".parquet"),
        rows=rows,
        fingerprint=fingerprint.hexdigest(),
        columns=tuple(Column(name=field.name, type=str(field.type)) for field in schema),
        files=(name,),
        bytes=int(fs.size(path)),
        source={"kind": "parquet_file", "uri": uri},
        created_at=datetime.now(UTC),
    )
