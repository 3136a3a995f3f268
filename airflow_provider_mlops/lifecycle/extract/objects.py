"""Rows that come as Python objects: of an Ibis expression, of scikit-learn, of the user's code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.sources import CodeSource, IbisSource, SklearnSource

_VERSIONS_WAY_OUT = (
    "the installed versions of Ibis and DuckDB do not go together in connection.sql(...) and in create_table(...) of "
    "rows in memory: use connection.table(...), connection.read_parquet(...), ibis.memtable(...), or "
    "connection.raw_sql('CREATE TABLE ...') and then connection.table(...)"
)

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_mlops.lifecycle.workspace import Workspace


def read_ibis(source: IbisSource, workspace: Workspace, batch_rows: int) -> Iterator[pyarrow.Table]:
    """The rows of the expression, streamed by its backend. Raises InvalidSpecError, BackendUnavailableError."""
    import ibis
    import pyarrow
    from ibis.common.exceptions import IbisError

    url = source.backend
    if source.connection is not None:
        url = workspace.secret(f"connection_{source.connection}")
        if url is None:
            raise InvalidSpecError(
                "source.connection", source.connection, "there is no such Airflow connection: create it, or correct it"
            )
    shown = source.connection or source.backend or "DuckDB"
    try:
        connection = engine.connect(url)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise InvalidSpecError(
            "source.backend", shown, f"Ibis has no such backend here ({error}): install it, or correct the URL"
        ) from error
    except Exception as error:
        raise BackendUnavailableError("The Ibis backend", shown, f"{type(error).__name__}: {error}") from error
    try:
        table = source.expression.call(connection=connection)
    except Exception as error:
        if _is_of_versions(error):
            raise InvalidSpecError("source.expression", str(source.expression), _VERSIONS_WAY_OUT) from error
        raise
    if not isinstance(table, ibis.Table):
        raise InvalidSpecError(
            "source.expression", str(source.expression), f"it must return an Ibis table, not {type(table).__name__}"
        )
    try:
        schema = table.schema().to_pyarrow()
        yield schema.empty_table()
        for batch in engine.batches(table, batch_rows):
            yield pyarrow.Table.from_batches([batch])
    except IbisError as error:
        raise InvalidSpecError(
            "source.expression", str(source.expression), f"the backend cannot compute it: {error}"
        ) from error
    finally:
        connection.disconnect()


def _is_of_versions(error: Exception) -> bool:
    """Whether Ibis has failed, as Ibis 12 does, on a method that DuckDB 2 has dropped or on SQL that it wrote badly."""
    import duckdb

    text = str(error)
    dropped = isinstance(error, AttributeError) and "DuckDBPyConnection" in text
    return dropped or (isinstance(error, duckdb.ParserException) and "DROP VIEW IF EXISTS" in text)


def read_sklearn(source: SklearnSource) -> Iterator[pyarrow.Table]:
    """The features and the target of a bundled data set as one table. Raises InvalidSpecError."""
    import pyarrow
    from sklearn import datasets

    names = sorted(
        name.removeprefix("load_")
        for name in dir(datasets)
        if name.startswith("load_") and "as_frame" in inspect.signature(getattr(datasets, name)).parameters
    )
    if source.name not in names:
        raise InvalidSpecError("source.name", source.name, f"scikit-learn bundles {', '.join(names)}")
    frame = getattr(datasets, f"load_{source.name}")(as_frame=True).frame
    yield pyarrow.Table.from_pandas(frame, preserve_index=False)


def read_code(source: CodeSource, offered: dict[str, Any]) -> Iterator[pyarrow.Table]:
    """The rows that the function returns. Raises InvalidSpecError if they are none; what it raises itself passes."""
    returned = source.function.call(**offered)
    table = _table(returned)
    if table is not None:
        yield table
        return
    if not hasattr(returned, "__iter__") or isinstance(returned, str | bytes | dict):
        raise _no_rows(source, returned)
    for piece in returned:
        table = _table(piece)
        if table is None:
            raise _no_rows(source, piece)
        yield table


def _table(rows: Any) -> pyarrow.Table | None:
    import pandas
    import pyarrow

    if isinstance(rows, pandas.DataFrame):
        named = rows.rename(columns=str)
        try:
            return pyarrow.Table.from_pandas(named, preserve_index=False)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            # Columns of objects of several kinds, which only text can hold.
            for name in [str(name) for name in named.columns if named[name].dtype == object]:
                named = named.assign(**{name: named[name].map(str, na_action="ignore")})
            return pyarrow.Table.from_pandas(named, preserve_index=False)
    if isinstance(rows, pyarrow.Table):
        return rows
    if isinstance(rows, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([rows])
    return None


def _no_rows(source: CodeSource, returned: Any) -> InvalidSpecError:
    return InvalidSpecError(
        "source.function",
        str(source.function),
        f"it must return a pandas DataFrame, an Arrow table or an iterator of them, not {type(returned).__name__}",
    )
