"""The rows of a query, streamed from any database that SQLAlchemy supports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.increment import check_interval_is_known
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource
from airflow_provider_mlops.lifecycle.extract.sql_connection import connected, connection_url, query_errors
from airflow_provider_mlops.lifecycle.extract.sql_types import declared_types, to_arrow
from airflow_provider_mlops.lifecycle.extract.window import Window, write_like

if TYPE_CHECKING:
    import pyarrow
    import sqlalchemy
    from sqlalchemy.sql.expression import Executable

    from airflow_provider_mlops.lifecycle.workspace import Workspace


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
    url = connection_url(source, workspace)
    with connected(url, source) as connection:
        statement = _statement(source, window, connection, values)
        with query_errors(source, url):
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
            with query_errors(source, url):
                rows = next(partitions, None)
            if rows is None:
                break
            empty = False
            yield to_arrow(names, rows, declared)
        if empty:
            yield to_arrow(names, [], declared)


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
            "source.parameters",
            unused,
            "the query does not use these parameters. Write them as :name in the query, or remove them",
        )
    if window is None or (window.low is None and window.high is None):
        return text
    rows = text.columns(column(window.column)).subquery("extracted")
    low, high = window.low, window.high
    if window.times:
        with query_errors(source, connection.engine.url):
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
