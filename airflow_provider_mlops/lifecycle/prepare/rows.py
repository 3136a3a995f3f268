"""The rows and columns that are split: filters as SQL predicates, and features from user code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis

    from airflow_provider_mlops.lifecycle.user_code import UserCode


def apply_filters(table: ibis.Table, predicates: tuple[str, ...]) -> ibis.Table:
    """Return the rows for which every SQL predicate is true.

    Raises
    ------
    InvalidSpecError
        If a filter is not a predicate over one row.
    """
    import ibis
    from ibis.expr import operations

    if not predicates:
        return table
    backend = table.get_backend()
    dialect = backend.dialect
    conditions = [f"({_check_predicate(predicate, table, dialect)})" for predicate in predicates]
    query = f"SELECT * FROM ({ibis.to_sql(table)}) AS mlops_rows WHERE {' AND '.join(conditions)}"
    # A filter does not change the schema, so Ibis need not ask the engine for it.
    return operations.SQLQueryResult(query, table.schema(), backend).to_expr()


def _check_predicate(predicate: str, table: ibis.Table, dialect: Any) -> str:
    """Check that a predicate is one condition over existing columns, and return it in the engine's dialect."""
    import sqlglot
    from sqlglot import expressions

    try:
        parsed = sqlglot.parse_one(f"SELECT 1 WHERE {predicate}", dialect=dialect)
        alone = sqlglot.parse_one(predicate, into=expressions.Condition, dialect=dialect)
    except sqlglot.errors.ParseError as error:
        reason = error.errors[0].get("description", str(error)) if error.errors else str(error)
        raise InvalidSpecError(
            "filters", predicate, f'it must be an SQL predicate, for example "age >= 18" ({reason.rstrip(".")})'
        ) from error
    where = parsed.args.get("where")
    clauses = {name for name, value in parsed.args.items() if value and name not in ("where", "expressions", "kind")}
    if not isinstance(parsed, expressions.Select) or where is None or clauses or alone.find(expressions.Query):
        raise InvalidSpecError(
            "filters", predicate, "it must be one condition on the columns of a row, without a subquery"
        )
    if alone.find(expressions.AggFunc, expressions.Window):
        raise InvalidSpecError(
            "filters",
            predicate,
            "a filter cannot use aggregate or window functions. Apply this condition in the query of the extract "
            "step or in the features function",
        )
    known = {name.lower() for name in table.columns}
    for column in alone.find_all(expressions.Column):
        if column.name.lower() not in known:
            raise InvalidSpecError(
                "filters",
                predicate,
                f"{column.name!r} must be a column of the dataset. {suggest(column.name, table.columns)}",
            )
    return alone.sql(dialect=dialect)


def check_features_code(code: UserCode) -> tuple[str, ...]:
    """Return the arguments that the `features` code takes.

    Raises
    ------
    InvalidSpecError
        If it requires an argument that the step does not pass.
    """
    return code.check("features", "frame", "table", "target")


def build_features(table: ibis.Table, code: UserCode, target: str) -> ibis.Table:
    """Call the user code on the rows and return the rows with features.

    A function that takes `frame` receives a pandas DataFrame, with all rows in memory; one that takes `table` receives
    the Ibis table, which the engine computes. Either may also take `target`, the name of the target column. It returns
    an Ibis table, a DataFrame or an Arrow table.

    Raises
    ------
    InvalidSpecError
        If the function returns anything else.
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
                "features", unnamed, f"the names of the columns that {code} returns must be strings. Rename them"
            )
        return ibis.memtable(pyarrow.Table.from_pandas(built, preserve_index=False))
    if isinstance(built, pyarrow.Table):
        return ibis.memtable(built)
    raise InvalidSpecError(
        "features",
        str(code),
        "the function must return an Ibis table, a pandas DataFrame or an Arrow table that contains the target, not "
        f"{type(built).__name__}",
    )
