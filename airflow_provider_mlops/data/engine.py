"""The engine that computes over datasets: an Ibis backend, DuckDB in bounded memory by default."""

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
"""What DuckDB may use for its buffers; past it, it spills to disk."""


def connect(url: str | None = None) -> ibis.BaseBackend:
    """Connect to a backend by its Ibis URL, or to a fresh in-memory DuckDB.

    Raises whatever the backend raises when it cannot be reached.
    """
    import ibis

    if url is not None:
        return ibis.connect(url)
    threads = min(4, os.cpu_count() or 1)
    # DuckDB makes this directory when it first spills, and removes it on closing; its default is the working directory.
    spill = os.path.join(tempfile.gettempdir(), f"mlops-duckdb-{os.getpid()}-{secrets.token_hex(4)}")
    backend = ibis.duckdb.connect(
        threads=threads, memory_limit=MEMORY_LIMIT, preserve_insertion_order=False, temp_directory=spill
    )
    # Closed at the latest before the interpreter ends, so that nothing is left in the temporary directory.
    weakref.finalize(backend, backend.con.close)
    return backend


def read_parquet(backend: ibis.BaseBackend, uris: list[str], *, by_name: bool = False) -> ibis.Table:
    """The rows of Parquet files as a table of `backend`. The names of directories are no columns.

    With `by_name` the files of DuckDB may have different columns: a row has null in those that its file lacks.
    """
    import ibis

    if all(storage.is_local(uri) for uri in uris):
        uris = [storage.local_path(uri) for uri in uris]
    else:
        register_filesystem(backend, uris[0])
    if backend.name != "duckdb":
        # One by one: not every backend takes a list.
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
    """Let DuckDB read what lies at a remote `uri`; other engines have their own ways to storage."""
    fs, _ = storage.locate(uri)
    protocols = [fs.protocol] if isinstance(fs.protocol, str) else list(fs.protocol)
    if backend.name == "duckdb" and not any(map(backend.con.filesystem_is_registered, protocols)):
        backend.register_filesystem(fs)


def batches(table: ibis.Table, rows: int = 100_000) -> Iterator[pyarrow.RecordBatch]:
    """The rows of an expression as Arrow batches of at most about `rows` rows, streamed in bounded memory."""
    backend: Any = table.get_backend()
    if backend.name != "duckdb":
        yield from table.to_pyarrow_batches(chunk_size=rows)
        return
    # Ibis 12 streams by a method that DuckDB 2 no longer has; the relation has one under either of two names.
    relation = backend._to_duckdb_relation(table)
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    yield from cast("Iterator[pyarrow.RecordBatch]", read(rows))
