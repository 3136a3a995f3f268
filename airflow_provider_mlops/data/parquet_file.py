"""A Parquet file that somebody else wrote, described as a dataset, so that one step can be added to a DAG as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.manifest import Column, Manifest
from airflow_provider_mlops.errors import InvalidSpecError

_ROWS_PER_BATCH = 100_000


def describe(uri: str) -> Manifest:
    """The manifest that the file at `uri` would have. The file is read once for its fingerprint, in batches.

    Raises FileNotFoundError if there is no file, InvalidSpecError if it is not Parquet.
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
            # As an extraction would have written them: the same data has the same fingerprint.
            fingerprint.update(plain(batch))
            rows += batch.num_rows
    except pyarrow.ArrowInvalid as error:
        raise InvalidSpecError("dataset", uri, f"it cannot be read as Parquet ({error}): write it again") from error
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
