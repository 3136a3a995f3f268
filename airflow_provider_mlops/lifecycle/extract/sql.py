"""The rows of a query, streamed from any database that SQLAlchemy supports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.increment import check_interval_is_known
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource
from airflow_provider_mlops.lifecycle.extract.sql_types import declared_types, to_arrow
from airflow_provider_mlops.lifecycle.extract.window import Window, write_like

if TYPE_CHECKING:
    import pyarrow
    import sqlalchemy
    from sqlalchemy.sql.expression import Executable

    from airflow_provider_mlops.lifecycle.workspace import Workspace

# Words in a database's message that say whether a retry can help. The databases have no error code in common.
_UNAVAILABLE = (
    "locked",
    "refused",
    "timeout",
    "timed out",
    "could not connect",
    "server closed",
    "gone away",
    "lost connection",
    "terminating connection",
    "shutting down",
    "starting up",
    "connection reset",
    "broken pipe",
)
_WRONG_LOGIN = ("authentication failed", "access denied", "no password", "no pg_hba.conf entry")
_WRONG_DATABASE = ("does not exist", "unknown database")

# Interchangeable drivers by database, with the module that each needs.
_DRIVERS = {
    "postgresql": {"postgresql+psycopg": "psycopg", "postgresql+psycopg2": "psycopg2"},
    "mysql": {"mysql+pymysql": "pymysql", "mysql+mysqldb": "MySQLdb", "mysql+mysqlconnector": "mysql.connector"},
    "mariadb": {"mariadb+pymysql": "pymysql", "mariadb+mysqldb": "MySQLdb"},
}


def read_sql(
    source: SqlSource, workspace: Workspace, window: Window | None, batch_rows: int, values: dict[str, Any]
) -> Iterator[pyarrow.Table]:
    """Yield the rows of the query in batches: at least one, which is empty if the query has no rows.

    Parameters
    ----------
    source
        The query and its connection.
    workspace
        Holds the connection as a secret, and the run's data interval.
    window
        Range of a column to extract; None for all rows.
    batch_rows
        Number of rows per batch.
    values
        Values that the query may refer to as `:name`, in addition to the source's own parameters.

    Raises
    ------
    InvalidSpecError
        If the connection or the query is wrong, or if it uses the data interval and the run has none.
    BackendUnavailableError
        If the database is unavailable.
    """
    used = _parameter_names(source) - set(source.parameters)
    check_interval_is_known(workspace.task, "source.query", source.query, used)
    url = _url(source, workspace)
    with _connected(url, source) as connection:
        statement = _statement(source, window, connection, values)
        with _query_errors(source, url):
            result = connection.execution_options(stream_results=True, yield_per=batch_rows).execute(statement)
        if not result.returns_rows:
            raise InvalidSpecError("source.query", source.query, "it must be a SELECT statement, which returns rows")
        names = list(result.keys())
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InvalidSpecError(
                "source.query",
                source.query,
                f"the names of its columns must be unique, but {', '.join(map(repr, repeated))} "
                f"{'is' if len(repeated) == 1 else 'are'} repeated. Rename columns with AS",
            )
        declared = declared_types(connection.dialect.name, getattr(result.cursor, "description", None), len(names))
        empty = True
        partitions = result.partitions(batch_rows)
        while True:
            with _query_errors(source, url):
                rows = next(partitions, None)
            if rows is None:
                break
            empty = False
            yield to_arrow(names, rows, declared)
        if empty:
            yield to_arrow(names, [], declared)


def _url(source: SqlSource, workspace: Workspace) -> sqlalchemy.URL:
    import sqlalchemy

    secret = workspace.secret(f"connection_{source.connection}")
    if secret is None:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            "it must be an Airflow connection. Create the connection, or correct the name",
        )
    try:
        url = sqlalchemy.make_url(secret)
    except sqlalchemy.exc.ArgumentError:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            "its URI must be one that SQLAlchemy can read. Correct the connection",
        ) from None
    url = _with_driver(url)
    # SQLite would create an empty database at a wrong path.
    on_disk = url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:"))
    if on_disk and not os.path.exists(str(url.database)):
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            f"the database file {url.database} does not exist. Correct the connection",
        )
    return url


def _with_driver(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """Return the URL with an installed driver if its own is not installed.

    An Airflow connection names the driver of the worker, and the step may run elsewhere.
    """
    from importlib.util import find_spec

    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    drivers = _DRIVERS.get(url.get_backend_name())
    if drivers is None:
        return url
    named = f"{url.get_backend_name()}+{url.get_driver_name()}"
    installed = [name for name, module in drivers.items() if find_spec(module.partition(".")[0]) is not None]
    return url.set(drivername=installed[0]) if named in drivers and installed and named not in installed else url


@contextmanager
def _connected(url: sqlalchemy.URL, source: SqlSource) -> Iterator[sqlalchemy.Connection]:
    import sqlalchemy

    address = url.render_as_string(hide_password=True)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        connection = engine.connect()
    except (ModuleNotFoundError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            f"the driver for {url.drivername} is not installed ({error}). Install it where the step runs",
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig)
        if any(word in message.lower() for word in _WRONG_LOGIN):
            raise InvalidSpecError(
                "source.connection",
                source.connection,
                f"{address} rejects the login. Correct the user and the password of the connection",
            ) from error
        if any(word in message.lower() for word in _WRONG_DATABASE):
            raise InvalidSpecError(
                "source.connection",
                source.connection,
                f"the database reports: {message.strip().rstrip('.')}. Correct the schema of the connection",
            ) from error
        raise BackendUnavailableError("The database", address, message.strip(), _check(source)) from error
    try:
        yield connection
    except BaseException:
        _abort(connection)
        raise
    finally:
        connection.close()
        engine.dispose()


def _abort(connection: sqlalchemy.Connection) -> None:
    """End a connection at once, instead of reading the remaining rows or waiting for the server first."""
    if not connection.invalidated:
        # PyMySQL reads the remaining rows even then, as soon as its result is garbage-collected.
        unread = getattr(connection.connection.driver_connection, "_result", None)
        if unread is not None and hasattr(unread, "unbuffered_active"):
            unread.unbuffered_active = False
    connection.invalidate()


@contextmanager
def _query_errors(source: SqlSource, url: sqlalchemy.URL) -> Iterator[None]:
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig).strip()
        if error.connection_invalidated or any(word in message.lower() for word in _UNAVAILABLE):
            address = url.render_as_string(hide_password=True)
            raise BackendUnavailableError("The database", address, message, _check(source)) from error
        raise InvalidSpecError("source.query", source.query, f"the database rejects it: {message}") from error
    except sqlalchemy.exc.StatementError as error:
        message = str(error.orig).partition(" (Background")[0]
        raise InvalidSpecError(
            "source.query",
            source.query,
            f"a parameter is missing or wrong ({message}). Set it in parameters; write a colon that is not a "
            "parameter as \\:",
        ) from error
    except ValueError as error:
        # For example a date before the year 1, which Python cannot represent.
        raise InvalidSpecError(
            "source.query", source.query, f"the driver cannot read a value ({error}). Cast the column in the query"
        ) from error


def _check(source: SqlSource) -> str:
    return f"Check the connection {source.connection!r}"


def _parameter_names(source: SqlSource) -> set[str]:
    import sqlalchemy

    return set(sqlalchemy.text(source.query).compile().params)


def _statement(
    source: SqlSource, window: Window | None, connection: sqlalchemy.Connection, values: dict[str, Any]
) -> Executable:
    """Return the query with its parameters, inside a condition if there is a window."""
    import sqlalchemy
    from sqlalchemy import bindparam, column, literal_column, select

    # The line break keeps the condition out of a comment at the end of the query.
    text = sqlalchemy.text(source.query + "\n")
    named = _parameter_names(source)
    given = {**{name: _moment(value, connection) for name, value in values.items()}, **source.parameters}
    text = text.bindparams(
        *(_parameter(bindparam(name, value), value) for name, value in given.items() if name in named)
    )
    unused = sorted(set(source.parameters) - named)
    if unused:
        raise InvalidSpecError(
            "source.parameters", unused, "the query must use every parameter as :name. Use them, or remove them"
        )
    if window is None or (window.low is None and window.high is None):
        return text
    rows = text.columns(column(window.column)).subquery("extracted")
    low, high = window.low, window.high
    if window.times:
        with _query_errors(source, connection.engine.url):
            sample = connection.execute(
                select(rows.c[window.column]).where(rows.c[window.column].is_not(None)).limit(1)
            ).scalar()
        if sample is not None:
            low, high = write_like(sample, low), write_like(sample, high)
    statement: Any = select(literal_column("extracted.*")).select_from(rows)
    for end, is_open, open_operator, closed_operator in (
        (low, window.low_open, "__gt__", "__ge__"),
        (high, window.high_open, "__lt__", "__le__"),
    ):
        if end is not None:
            operator = open_operator if is_open else closed_operator
            parameter = _parameter(bindparam(None, end, unique=True), end)
            statement = statement.where(getattr(rows.c[window.column], operator)(parameter))
    return cast("Executable", statement)


def _parameter(parameter: sqlalchemy.BindParameter[Any], value: Any) -> sqlalchemy.BindParameter[Any]:
    """Leave the type of a text to the database, because PostgreSQL does not compare a VARCHAR with a time."""
    import sqlalchemy

    if isinstance(value, str):
        parameter.type = sqlalchemy.types.NULLTYPE
    return parameter


def _moment(value: Any, connection: sqlalchemy.Connection) -> Any:
    """Return a time as a parameter: in UTC without a zone for databases whose times have no zone."""
    if not isinstance(value, datetime) or connection.dialect.name not in ("sqlite", "mysql", "mariadb"):
        return value
    value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(sep=" ") if connection.dialect.name == "sqlite" else value
