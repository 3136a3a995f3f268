"""Rows of a query, streamed from any database that SQLAlchemy speaks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.increment import Window, write_like
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource
from airflow_provider_mlops.lifecycle.extract.sql_types import declared_types, to_arrow

if TYPE_CHECKING:
    import pyarrow
    import sqlalchemy
    from sqlalchemy.sql.expression import Executable

    from airflow_provider_mlops.lifecycle.workspace import Workspace

# What messages say when trying again may help, and when it will not: databases agree on no code for either.
_AWAY = (
    "locked", "refused", "timeout", "timed out", "could not connect", "server closed", "gone away", "lost connection",
    "terminating connection", "shutting down", "starting up", "connection reset", "broken pipe",
)  # fmt: skip
_WRONG_LOGIN = ("authentication failed", "access denied", "no password", "no pg_hba.conf entry")
_WRONG_DATABASE = ("does not exist", "unknown database")

# Drivers that do as well as the one that a URL names or SQLAlchemy would take, by what is imported for them.
_DRIVERS = {
    "postgresql": {"postgresql+psycopg": "psycopg", "postgresql+psycopg2": "psycopg2"},
    "mysql": {"mysql+pymysql": "pymysql", "mysql+mysqldb": "MySQLdb", "mysql+mysqlconnector": "mysql.connector"},
    "mariadb": {"mariadb+pymysql": "pymysql", "mariadb+mysqldb": "MySQLdb"},
}


def read_sql(
    source: SqlSource, workspace: Workspace, window: Window | None, batch_rows: int, offered: dict[str, Any]
) -> Iterator[pyarrow.Table]:
    """The rows of the query in batches; at least one, which has no rows if the query has none.

    :param offered: what the query may refer to as `:name` beside the source's own parameters.

    Raises InvalidSpecError for a connection or a query that is wrong, BackendUnavailableError for a database that is away.
    """
    url = _url(source, workspace)
    with _connected(url, source) as connection:
        statement = _statement(source, window, connection, offered)
        with _query_errors(source, url):
            result = connection.execution_options(stream_results=True, yield_per=batch_rows).execute(statement)
        if not result.returns_rows:
            raise InvalidSpecError("source.query", source.query, "it gives no rows: write a SELECT statement")
        names = list(result.keys())
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InvalidSpecError(
                "source.query", list_names(repeated), "columns must have different names: rename them with AS"
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
            "there is no such Airflow connection: create it, or correct the name",
        )
    try:
        url = sqlalchemy.make_url(secret)
    except sqlalchemy.exc.ArgumentError:
        raise InvalidSpecError(
            "source.connection", source.connection, "its URI is not one that SQLAlchemy reads: correct the connection"
        ) from None
    url = _with_driver(url)
    # SQLite would make an empty database of a wrong path.
    on_disk = url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:"))
    if on_disk and not os.path.exists(str(url.database)):
        raise InvalidSpecError(
            "source.connection", source.connection, f"there is no database file {url.database}: correct the path"
        )
    return url


def _with_driver(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """The URL with a driver that is there, if its own is not: an Airflow connection names the worker's."""
    from importlib.util import find_spec

    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    drivers = _DRIVERS.get(url.get_backend_name())
    if drivers is None:
        return url
    named = f"{url.get_backend_name()}+{url.get_driver_name()}"
    there = [name for name, module in drivers.items() if find_spec(module.partition(".")[0]) is not None]
    return url.set(drivername=there[0]) if named in drivers and there and named not in there else url


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
            f"the driver for {url.drivername} is not installed ({error}): install it",
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig)
        if any(word in message.lower() for word in _WRONG_LOGIN):
            raise InvalidSpecError(
                "source.connection", source.connection, f"{address} refuses the login: correct user and password"
            ) from error
        if any(word in message.lower() for word in _WRONG_DATABASE):
            raise InvalidSpecError(
                "source.connection", source.connection, f"{message.strip()}: correct the connection's schema"
            ) from error
        raise BackendUnavailableError("The database", address, message.strip()) from error
    try:
        yield connection
    except BaseException:
        _break(connection)
        raise
    finally:
        connection.close()
        engine.dispose()


def _break(connection: sqlalchemy.Connection) -> None:
    """End a connection at once: in order, drivers read the rest of the rows first, or talk to a server that is away."""
    if not connection.invalidated:
        # PyMySQL wants to read the rest even then, as soon as its result is let go of.
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
        if error.connection_invalidated or any(word in message.lower() for word in _AWAY):
            address = url.render_as_string(hide_password=True)
            raise BackendUnavailableError("The database", address, message) from error
        raise InvalidSpecError("source.query", source.query, f"the database refuses it: {message}") from error
    except sqlalchemy.exc.StatementError as error:
        message = str(error.orig).partition(" (Background")[0]
        raise InvalidSpecError(
            "source.query",
            source.query,
            f"a parameter is missing or wrong: {message}; a colon that begins no parameter is written \\:",
        ) from error
    except ValueError as error:
        # Dates before the year 1 and their like, which are values of the database and none of Python.
        raise InvalidSpecError(
            "source.query", source.query, f"the driver cannot read a value ({error}): cast it in the query"
        ) from error


def _statement(
    source: SqlSource, window: Window | None, connection: sqlalchemy.Connection, offered: dict[str, Any]
) -> Executable:
    """The query with its parameters and, if not all rows are wanted, a condition around it."""
    import sqlalchemy
    from sqlalchemy import bindparam, column, literal_column, select

    # On a line of its own, what is put around the query is no part of a comment that ends it.
    text = sqlalchemy.text(source.query + "\n")
    named = set(text.compile().params)
    values = {**{name: _moment(value, connection) for name, value in offered.items()}, **source.parameters}
    text = text.bindparams(
        *(_parameter(bindparam(name, value), value) for name, value in values.items() if name in named)
    )
    unused = sorted(set(source.parameters) - named)
    if unused:
        raise InvalidSpecError(
            "source.parameters", unused, "the query has no :name for them: use them, or leave them out"
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
    """A parameter whose text the database reads as what it stands beside: a VARCHAR is no time for PostgreSQL."""
    import sqlalchemy

    if isinstance(value, str):
        parameter.type = sqlalchemy.types.NULLTYPE
    return parameter


def _moment(value: Any, connection: sqlalchemy.Connection) -> Any:
    """A moment as a parameter; in UTC without a zone for databases whose times have none."""
    if not isinstance(value, datetime) or connection.dialect.name not in ("sqlite", "mysql", "mariadb"):
        return value
    value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(sep=" ") if connection.dialect.name == "sqlite" else value
