"""Which rows and columns go into the split: filters as SQL predicates, and the user's own features."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis

    from airflow_provider_mlops.lifecycle.user_code import UserCode


def keep(table: ibis.Table, predicates: tuple[str, ...]) -> ibis.Table:
    """The rows for which every SQL predicate is true. Raises InvalidSpecError for what is no predicate over a row."""
    import ibis
    from ibis.expr import operations

    if not predicates:
        return table
    backend = table.get_backend()
    dialect = backend.dialect
    conditions = [f"({_checked(predicate, table, dialect)})" for predicate in predicates]
    query = f"SELECT * FROM ({ibis.to_sql(table)}) AS mlops_rows WHERE {' AND '.join(conditions)}"
    # Ibis would ask the engine for the schema of the query; a filter does not change it.
    return operations.SQLQueryResult(query, table.schema(), backend).to_expr()


def _checked(predicate: str, table: ibis.Table, dialect: Any) -> str:
    """The predicate in the engine's dialect, known to be one condition over existing columns."""
    import sqlglot
    from sqlglot import expressions

    field = "filters"
    try:
        parsed = sqlglot.parse_one(f"SELECT 1 WHERE {predicate}", dialect=dialect)
        alone = sqlglot.parse_one(predicate, into=expressions.Condition, dialect=dialect)
    except sqlglot.errors.ParseError as error:
        reason = error.errors[0].get("description", str(error)) if error.errors else str(error)
        raise InvalidSpecError(
            field, predicate, f'it is no SQL predicate ({reason.rstrip(".")}): write it like "age >= 18"'
        ) from error
    where = parsed.args.get("where")
    clauses = {name for name, value in parsed.args.items() if value and name not in ("where", "expressions", "kind")}
    if not isinstance(parsed, expressions.Select) or where is None or clauses or alone.find(expressions.Query):
        raise InvalidSpecError(field, predicate, "write one condition over the row's own columns, without a sub-query")
    if alone.find(expressions.AggFunc, expressions.Window):
        raise InvalidSpecError(
            field, predicate, "a filter sees one row at a time: compute the aggregate in the `features` code"
        )
    known = {name.lower() for name in table.columns}
    for column in alone.find_all(expressions.Column):
        if column.name.lower() not in known:
            raise InvalidSpecError(
                field, predicate, f"there is no column {column.name!r}: {nearest(column.name, table)}"
            )
    return alone.sql(dialect=dialect)


def nearest(name: str, table: ibis.Table) -> str:
    """What to write in place of an unknown column name."""
    close = difflib.get_close_matches(name, table.columns, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, table.columns[:30]))
    return f"the columns are {shown}{', …' if len(table.columns) > 30 else ''}"


def check_features_code(code: UserCode) -> tuple[str, ...]:
    """The arguments that the user's code for features takes. Raises InvalidSpecError for what it cannot be given."""
    return code.check("features", "frame", "table", "target")


def build_features(table: ibis.Table, code: UserCode, target: str) -> ibis.Table:
    """What the user's code makes of the rows.

    A function that names `frame` is given a pandas DataFrame, all rows in memory; one that names `table` is given the
    Ibis table and leaves the work to the engine. Either may also take `target`, the name of the target column. It
    returns an Ibis table, a DataFrame or an Arrow table.

    Raises InvalidSpecError for a function that returns anything else.
    """
    import ibis
    import pandas
    import pyarrow

    names = check_features_code(code)
    if "frame" in names and "table" not in names:
        built = code.call(target=target, frame=table.to_pandas())
    else:
        built = code.call(target=target, table=table)
    if isinstance(built, ibis.Table):
        return built
    if isinstance(built, pandas.DataFrame):
        unnamed = [name for name in built.columns if not isinstance(name, str)]
        if unnamed:
            raise InvalidSpecError(
                "features", unnamed, f"{code} returned columns whose names are not strings: rename them"
            )
        return ibis.memtable(pyarrow.Table.from_pandas(built, preserve_index=False))
    if isinstance(built, pyarrow.Table):
        return ibis.memtable(built)
    raise InvalidSpecError(
        "features",
        f"{code} returned {type(built).__name__}",
        "return an Ibis table, a pandas DataFrame or an Arrow table, with the target column still in it",
    )
