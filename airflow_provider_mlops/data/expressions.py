"""Ibis expressions for profiles: a column as numbers, as text, and as the bins that its values fall into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt

    from airflow_provider_mlops.data.profile import Kind

COLUMNS_PER_QUERY = 40
"""Number of columns in one query. Engines are slow to plan queries over a thousand columns."""

MAX_TEXT_LENGTH = 1000
"""Longest text that can be a top value. Longer text is counted as distinct, but not kept."""

_LOWEST = -1.7976931348623157e308

MAX_SQUARABLE = 1e150
"""Largest number whose square fits into a double. Engines cannot compute a standard deviation beyond it."""

T = TypeVar("T")


def kind_of(dtype: dt.DataType) -> Kind:
    """Return the kind of statistics that an Ibis type allows."""
    if dtype.is_boolean():
        return "boolean"
    if dtype.is_numeric():
        return "numeric"
    if dtype.is_timestamp() or dtype.is_date():
        return "temporal"
    if dtype.is_string() or dtype.is_uuid():
        return "categorical"
    return "other"


def missing(column: ibis.Value) -> ibis.Value:
    """Return whether the value is NULL or NaN."""
    if not column.type().is_floating():
        return column.isnull()
    return column.isnull() | column.isnan().fill_null(False)


def count_where(condition: ibis.Value) -> ibis.Value:
    """Return the number of rows in which the condition is true; NULL if there are no rows."""
    import ibis

    return ibis.ifelse(condition, 1, 0).cast("int64").sum()


def present(column: ibis.Value) -> ibis.Value:
    """Return the value, with NaN as NULL."""
    import ibis

    if not column.type().is_floating():
        return column
    return ibis.ifelse(column.isnan(), ibis.null(column.type()), column)


def number(column: ibis.Value) -> ibis.Value:
    """Return the value as a double: a boolean as 0 or 1, a time as seconds since 1970.

    NULL if the value is missing or infinite.
    """
    import ibis

    dtype = column.type()
    if dtype.is_timestamp() or dtype.is_date():
        moment = column.cast("timestamp") if dtype.is_date() else column
        return moment.epoch_seconds().cast("float64")
    if dtype.is_boolean():
        # PostgreSQL casts booleans to integers of some widths only.
        return ibis.ifelse(column, 1.0, ibis.ifelse(~column, 0.0, ibis.null("float64")))
    double = column.cast("float64")
    if not dtype.is_floating():
        return double
    return ibis.ifelse(double.isnan() | double.isinf(), ibis.null("float64"), double)


def squarable(value: ibis.Value) -> ibis.Value:
    """Return the number, or NULL if its square does not fit into a double."""
    import ibis

    return ibis.ifelse(value.abs() < MAX_SQUARABLE, value, ibis.null("float64"))


def text(column: ibis.Value) -> ibis.Value:
    """Return the value as text, the same for equal values. NULL if it is missing, infinite or too long."""
    import ibis

    dtype = column.type()
    if dtype.is_boolean():
        return ibis.ifelse(column, "true", ibis.ifelse(~column, "false", ibis.null("string")))
    if dtype.is_string():
        return ibis.ifelse(column.length() <= MAX_TEXT_LENGTH, column, ibis.null("string"))
    if dtype.is_floating():
        return ibis.ifelse(column.isnan() | column.isinf(), ibis.null(dtype), column).cast("string")
    return column.cast("string")


def as_text(value: Any) -> str:
    """Return a Python value as the text that `text` makes of it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse(value: str, dtype: dt.DataType) -> Any:
    """Return the Python value that `text` was made from."""
    if dtype.is_boolean():
        return value == "true"
    if dtype.is_integer():
        return int(value)
    if dtype.is_numeric():
        return float(value)
    return value


def bucket(value: ibis.Value, edges: Sequence[float]) -> ibis.Value:
    """Return the number of edges that are smaller than the value, from 0 to len(edges). NULL if the value is NULL."""
    import ibis

    if len(edges) < 2:
        above = ibis.ifelse(value > edges[0], 1, 0) if edges else ibis.literal(0)
        return ibis.ifelse(value.isnull(), ibis.null("int16"), above).cast("int16")
    # A single node of the expression: Ibis takes ten times as long to compile a tree of comparisons.
    return value.bucket(list(edges), closed="right", close_extreme=False, include_under=True, include_over=True).cast(
        "int16"
    )


def counts_by_bucket(
    table: ibis.Table, numbers: Mapping[str, tuple[ibis.Value, Sequence[float]]], label: ibis.Value | None = None
) -> Iterator[tuple[str, int, str | None, int]]:
    """Yield (name, bucket, label, count) for every `bucket` that rows fall into.

    DuckDB needs one pass, with one aggregate for each column; other engines group by each column separately.

    Parameters
    ----------
    table
        Table that the expressions belong to.
    numbers
        Numeric expression and its edges, by name. Rows in which it is NULL are not counted.
    label
        Expression whose values split the counts. Without it, the label is empty text.
    """
    import ibis

    if table.get_backend().name != "duckdb":
        branches = []
        for name, (number, edges) in numbers.items():
            keys = {
                "name": ibis.literal(name),
                "bucket": bucket(number, edges),
                "label": ibis.literal("") if label is None else label,
            }
            branches.append(table.group_by(**keys).aggregate(n=number.count()))
        for row in run_together(branches):
            if row["n"]:
                yield row["name"], row["bucket"], row["label"], row["n"]
        return

    @ibis.udf.agg.builtin(name="histogram", signature=(("float64", "array<float64>"), "map<float64, int64>"))
    def histogram(number, bins):  # type: ignore[no-untyped-def]
        """Count the numbers in each bin. A bin includes its upper edge."""

    for part in in_parts(list(numbers.items())):
        # DuckDB reads a list of short decimals as decimals of one scale, unless one of them is a double. No double is
        # smaller than the first edge, and numbers larger than the last edge are counted under infinity.
        aggregates = {
            f"counts_{index}": histogram(number, ibis.literal([_LOWEST, *edges], type="array<float64>"))
            for index, (_, (number, edges)) in enumerate(part)
        }
        grouped = table if label is None else table.group_by(label=label)
        for row in run(grouped.aggregate(**aggregates)):
            for index, (name, (_, edges)) in enumerate(part):
                counted = sorted(row[f"counts_{index}"] or ())
                if not counted:
                    continue
                if len(counted) == len(edges) + 1:
                    counted.append((float("inf"), 0))
                (_, lowest), *others = counted
                for index_of_bucket, (_, count) in enumerate(others):
                    total = count + (lowest if index_of_bucket == 0 else 0)
                    if total:
                        yield name, index_of_bucket, "" if label is None else row["label"], total


def run(expression: ibis.Table) -> list[dict[str, Any]]:
    """Run the expression and return its rows, which must be few."""
    rows: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return rows


def run_together(branches: Iterable[ibis.Table]) -> Iterator[dict[str, Any]]:
    """Run expressions with the same columns in as few queries as possible, and yield all of their rows."""
    import ibis

    for part in in_parts(list(branches)):
        yield from run(ibis.union(*part) if len(part) > 1 else part[0])


def in_parts(items: Sequence[T], size: int = COLUMNS_PER_QUERY) -> Iterator[Sequence[T]]:
    """Yield consecutive parts of at most `size` items.

    >>> list(in_parts("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]
