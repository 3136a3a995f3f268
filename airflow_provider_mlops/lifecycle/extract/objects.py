"""Rows from Python objects: an Ibis expression, a dataset of scikit-learn, or user code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.extras import require
from airflow_provider_mlops.lifecycle.extract.increment import check_interval_is_known
from airflow_provider_mlops.lifecycle.extract.sources import CodeSource, IbisSource, SklearnSource

_VERSIONS_HINT = (
    "connection.sql(...) and create_table(...) of rows in memory do not work with the installed versions of Ibis and "
    "DuckDB. Use connection.table(...), connection.read_parquet(...), ibis.memtable(...), or "
    "connection.raw_sql('CREATE TABLE ...') followed by connection.table(...)"
)

if TYPE_CHECKING:
    import ibis
    import pyarrow

    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.lifecycle.workspace import Workspace


def read_ibis(source: IbisSource, workspace: Workspace, batch_rows: int) -> Iterator[pyarrow.Table]:
    """Yield the rows of the expression in batches, streamed by its backend.

    Raises
    ------
    InvalidSpecError
        If the backend or the expression is wrong.
    BackendUnavailableError
        If the backend is unavailable.
    """
    import pyarrow
    from ibis.common.exceptions import IbisError

    connection = _connect_ibis(source, workspace)
    table = _ibis_table(source, connection)
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


def _connect_ibis(source: IbisSource, workspace: Workspace) -> Any:
    url = source.backend
    if source.connection is not None:
        url = workspace.secret(f"connection_{source.connection}")
        if url is None:
            raise InvalidSpecError(
                "source.connection",
                source.connection,
                "it must be an Airflow connection. Create the connection, or correct the name",
            )
    name = source.connection or source.backend or "DuckDB"
    try:
        return engine.connect(url)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise InvalidSpecError(
            "source.backend",
            name,
            f"it must be the URL of an installed Ibis backend ({error}). Install the backend, or correct the URL",
        ) from error
    except Exception as error:
        raise BackendUnavailableError("The Ibis backend", name, f"{type(error).__name__}: {error}") from error


def _ibis_table(source: IbisSource, connection: Any) -> ibis.Table:
    """Call the user's expression, which must return a table."""
    import ibis

    try:
        table = source.expression.call(connection=connection)
    except Exception as error:
        if _is_version_conflict(error):
            raise InvalidSpecError("source.expression", str(source.expression), _VERSIONS_HINT) from error
        raise
    if not isinstance(table, ibis.Table):
        raise InvalidSpecError(
            "source.expression",
            str(source.expression),
            f"the function must return an Ibis table, not {type(table).__name__}",
        )
    return table


def _is_version_conflict(error: Exception) -> bool:
    """Return whether Ibis failed on a method that DuckDB 2 has dropped, or on SQL that DuckDB 2 no longer accepts."""
    import duckdb

    text = str(error)
    dropped = isinstance(error, AttributeError) and "DuckDBPyConnection" in text
    return dropped or (isinstance(error, duckdb.ParserException) and "DROP VIEW IF EXISTS" in text)


def read_sklearn(source: SklearnSource) -> Iterator[pyarrow.Table]:
    """Yield the features and the target of a bundled dataset as one table.

    Raises
    ------
    InvalidSpecError
        If there is no such dataset.
    MissingExtraError
        If scikit-learn is not installed.
    """
    require("The source 'sklearn'", "train")
    import pyarrow
    from sklearn import datasets

    names = sorted(
        name.removeprefix("load_")
        for name in dir(datasets)
        if name.startswith("load_") and "as_frame" in inspect.signature(getattr(datasets, name)).parameters
    )
    if source.name not in names:
        raise InvalidSpecError(
            "source.name",
            source.name,
            f"it must be a dataset of scikit-learn. {suggest(source.name, names)}",
        )
    frame = getattr(datasets, f"load_{source.name}")(as_frame=True).frame
    yield pyarrow.Table.from_pandas(frame, preserve_index=False)


def read_code(source: CodeSource, task: TaskIdentity, values: dict[str, Any]) -> Iterator[pyarrow.Table]:
    """Yield the rows that the function returns. Errors that the function raises keep their type.

    Parameters
    ----------
    source
        The function.
    task
        The task, with the interval of its run.
    values
        Arguments that the function may take.

    Raises
    ------
    InvalidSpecError
        If the function returns something other than rows, or if it requires the data interval and the run has none.
    """
    function = source.function.resolve("source.function")
    source.function.check("source.function", *values)
    parameters = inspect.signature(function).parameters
    required = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    check_interval_is_known(task, "source.function", str(source.function), required)
    returned = source.function.call(**values)
    table = _table(returned)
    if table is not None:
        yield table
        return
    if not hasattr(returned, "__iter__") or isinstance(returned, str | bytes | dict):
        raise _not_rows(source, returned)
    for piece in returned:
        table = _table(piece)
        if table is None:
            raise _not_rows(source, piece)
        yield table


def _table(rows: Any) -> pyarrow.Table | None:
    import pandas
    import pyarrow

    if isinstance(rows, pandas.DataFrame):
        named = rows.rename(columns=str)
        try:
            return pyarrow.Table.from_pandas(named, preserve_index=False)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            # Only text can hold a column of objects of several types.
            for name in [str(name) for name in named.columns if named[name].dtype == object]:
                named = named.assign(**{name: named[name].map(str, na_action="ignore")})
            return pyarrow.Table.from_pandas(named, preserve_index=False)
    if isinstance(rows, pyarrow.Table):
        return rows
    if isinstance(rows, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([rows])
    return None


def _not_rows(source: CodeSource, returned: Any) -> InvalidSpecError:
    return InvalidSpecError(
        "source.function",
        str(source.function),
        "the function must return a pandas DataFrame, an Arrow table or an iterator of these, not "
        f"{type(returned).__name__}",
    )
