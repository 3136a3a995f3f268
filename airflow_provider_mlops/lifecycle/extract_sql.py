"""Rows of a query, streamed from any database that SQLAlchemy speaks to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_mlops.data.profile import list_names
from airflow_provider_mlops.errors import BackendAwayError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract_increment import Window, write_like
from airflow_provider_mlops.lifecycle.extract_sources import SqlSource

if TYPE_CHECKING:
    import pyarrow
    import sqlalchemy
    from sqlalchemy.sql.expression import Executable

    from airflow_provider_mlops.lifecycle.workspace import Workspace

# Of the databases, PostgreSQL says in its cursors what type a column has: by object identifiers that never change.
_POSTGRES_TYPES = {
    16: "bool", 20: "int64", 21: "int64", 23: "int64", 26: "int64", 700: "float64", 701: "float64", 1700: "float64",
    25: "string", 1042: "string", 1043: "string", 19: "string", 2950: "string", 114: "string", 3802: "string",
    1082: "date32", 1114: "timestamp[us]", 1184: "timestamp[us, tz=UTC]", 17: "binary",
}  # fmt: skip

_AWAY = (
    "locked",
    "refused",
    "timeout",
    "timed out",
    "could not connect",
    "server closed",
    "gone away",
    "lost connection",
)


def read_sql(
    source: SqlSource, workspace: Workspace, window: Window | None, batch_rows: int, offered: dict[str, Any]
) -> Iterator[pyarrow.Table]:
    """The rows of the query in batches; at least one, which has no rows if the query has none.

    :param offered: what the query may refer to as `:name` beside the source's own parameters.

    Raises InvalidSpecError for a connection or a query that is wrong, BackendAwayError for a database that is away.
    """
    url = _url(source, workspace)
    with _connected(url, source) as connection:
        statement = _statement(source, window, connection, offered)
        with _query_errors(source, url):
            result = connection.execution_options(stream_results=True, yield_per=batch_rows).execute(statement)
        names = list(result.keys())
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InvalidSpecError(
                "source.query", list_names(repeated), "columns must have different names: rename them with AS"
            )
        declared = _declared_types(connection, result)
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


def to_arrow(names: Sequence[str], rows: Sequence[Sequence[Any]], declared: Sequence[str | None]) -> pyarrow.Table:
    """Rows of Python values as an Arrow table; a type that is not declared follows from the values."""
    import pyarrow

    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pyarrow.table(
        [_array(values, kind) for values, kind in zip(columns, declared, strict=True)], names=list(names)
    )


def _array(values: Sequence[Any], declared: str | None) -> pyarrow.Array:
    import pyarrow

    first = next((value for value in values if value is not None), None)
    if isinstance(first, dict | list | tuple):
        values = [None if value is None else json.dumps(value, default=str) for value in values]
    elif isinstance(first, memoryview):
        values = [None if value is None else bytes(value) for value in values]
    try:
        return pyarrow.array(values, type=_arrow_type(declared))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError, OverflowError):
        pass
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return pyarrow.array([None if value is None else float(value) for value in values], type="float64")
    if declared == "float64":
        return pyarrow.array([None if value is None else float(value) for value in values], type="float64")
    # Values of several kinds, or of one that Arrow does not know, such as UUIDs.
    return pyarrow.array([None if value is None else str(value) for value in values], type="string")


def _arrow_type(declared: str | None) -> pyarrow.DataType | None:
    import pyarrow

    if declared is None:
        return None
    if declared.startswith("timestamp"):
        return pyarrow.timestamp("us", tz="UTC" if "UTC" in declared else None)
    return pyarrow.type_for_alias(declared)


def _declared_types(connection: sqlalchemy.Connection, result: Any) -> list[str | None]:
    description = getattr(getattr(result, "cursor", None), "description", None)
    if connection.dialect.name != "postgresql" or description is None:
        return [None] * len(result.keys())
    return [_POSTGRES_TYPES.get(column[1]) for column in description]


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
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    # SQLite would make an empty database of a wrong path.
    on_disk = url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:"))
    if on_disk and not os.path.exists(str(url.database)):
        raise InvalidSpecError(
            "source.connection", source.connection, f"there is no database file {url.database}: correct the path"
        )
    return url


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
        if any(word in message.lower() for word in ("authentication failed", "access denied", "no password")):
            raise InvalidSpecError(
                "source.connection", source.connection, f"{address} refuses the login: correct user and password"
            ) from error
        raise BackendAwayError(
            "The database", address, f"{message.strip()}; check that it runs, and try again"
        ) from error
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()


@contextmanager
def _query_errors(source: SqlSource, url: sqlalchemy.URL) -> Iterator[None]:
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig).strip()
        if error.connection_invalidated or any(word in message.lower() for word in _AWAY):
            address = url.render_as_string(hide_password=True)
            raise BackendAwayError("The database", address, f"{message}; try again") from error
        raise InvalidSpecError("source.query", source.query, f"the database refuses it: {message}") from error
    except sqlalchemy.exc.StatementError as error:
        raise InvalidSpecError(
            "source.query", source.query, f"a parameter is missing or wrong: {error.orig}"
        ) from error


def _statement(
    source: SqlSource, window: Window | None, connection: sqlalchemy.Connection, offered: dict[str, Any]
) -> Executable:
    """The query with its parameters and, if not all rows are wanted, a condition around it."""
    import sqlalchemy
    from sqlalchemy import column, literal, literal_column, select

    text = sqlalchemy.text(source.query)
    named = set(text.compile().params)
    sqlite = connection.dialect.name == "sqlite"
    values: dict[str, Any] = {
        name: value.replace(tzinfo=None).isoformat(sep=" ") if sqlite and isinstance(value, datetime) else value
        for name, value in offered.items()
        if name in named
    }
    text = text.bindparams(**values, **{name: value for name, value in source.parameters.items() if name in named})
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
            statement = statement.where(getattr(rows.c[window.column], operator)(literal(end)))
    return cast("Executable", statement)
