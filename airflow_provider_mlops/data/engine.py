"""The engine that computes over datasets: an Ibis backend, by default DuckDB in bounded memory."""

from __future__ import annotations

import os
import secrets
import tempfile
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_mlops.data import storage

if TYPE_CHECKING:
    import ibis
    import pyarrow

MEMORY_LIMIT = "512MB"
"""Memory for DuckDB's buffers. DuckDB spills to disk beyond it."""


def connect(url: str | None = None) -> ibis.BaseBackend:
    """Connect to a backend by its Ibis URL, or to a new in-memory DuckDB.

    Raises the backend's own error if the backend cannot be reached.
    """
    import ibis

    if url is not None:
        return ibis.connect(url)
    threads = min(4, os.cpu_count() or 1)
    # DuckDB creates this directory when it first spills, and deletes it on closing. By default it would be the working
    # directory.
    spill = os.path.join(tempfile.gettempdir(), f"mlops-duckdb-{os.getpid()}-{secrets.token_hex(4)}")
    backend = ibis.duckdb.connect(
        threads=threads, memory_limit=MEMORY_LIMIT, preserve_insertion_order=False, temp_directory=spill
    )
    # Closed before the interpreter exits at the latest, so that nothing is left in the temporary directory.
    weakref.finalize(backend, backend.con.close)
    return backend


def read_parquet(backend: ibis.BaseBackend, uris: list[str], *, by_name: bool = False) -> ibis.Table:
    """Return the rows of Parquet files as a table of `backend`. Names of directories do not become columns.

    With `by_name`, the files may have different columns on DuckDB: a row is null in the columns that its file lacks.
    """
    import ibis

    if all(storage.is_local(uri) for uri in uris):
        uris = [storage.local_path(uri) for uri in uris]
    else:
        register_filesystem(backend, uris[0])
    if backend.name != "duckdb":
        # One by one, since not every backend takes a list.
        return ibis.union(*map(backend.read_parquet, uris)) if len(uris) > 1 else backend.read_parquet(uris[0])
    # Ibis would have DuckDB download an extension for s3:// and https://, which has other credentials than fsspec.
    name = ibis.util.gen_name("parquet")
    files = ", ".join("'" + uri.replace("'", "''") + "'" for uri in uris)
    backend.con.execute(
        f'CREATE TEMPORARY VIEW "{name}" AS SELECT * FROM read_parquet([{files}], hive_partitioning=false, '
        f"union_by_name={str(by_name).lower()})"
    )
    return backend.table(name)


def register_filesystem(backend: ibis.BaseBackend, uri: str) -> None:
    """Let DuckDB read from the file system of a remote `uri`. Other engines have their own access to storage."""
    fs, _ = storage.locate(uri)
    protocols = [fs.protocol] if isinstance(fs.protocol, str) else list(fs.protocol)
    if backend.name == "duckdb" and not any(map(backend.con.filesystem_is_registered, protocols)):
        backend.register_filesystem(fs)


def batches(table: ibis.Table, rows: int = 100_000) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of an expression as Arrow batches of about `rows` rows, streamed in bounded memory."""
    backend: Any = table.get_backend()
    if backend.name != "duckdb":
        yield from table.to_pyarrow_batches(chunk_size=rows)
        return
    # Ibis 12 streams with a method that DuckDB 2 no longer has; the relation has one under either of two names.
    relation = backend._to_duckdb_relation(table)
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    yield from cast("Iterator[pyarrow.RecordBatch]", read(rows))
