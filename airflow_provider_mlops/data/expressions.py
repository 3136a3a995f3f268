"""The Ibis expressions that profiles are made of: what a column is as a number, as text, and as a bin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt

    from airflow_provider_mlops.data.profile import Kind

COLUMNS_PER_QUERY = 40
"""Engines plan queries over a thousand columns slowly, so wide tables are asked about in parts."""

LONGEST_TEXT = 1000
"""Text longer than this is no category: it is counted, but not kept as a top value."""

_LOWEST = -1.7976931348623157e308

LARGEST_SQUARED = 1e150
"""Beyond this the square of a number is not a double any more, and engines refuse to give a deviation."""

T = TypeVar("T")


def kind_of(dtype: dt.DataType) -> Kind:
    """What statistics make sense for an Ibis type."""
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
    """True where the value is NULL or NaN."""
    if not column.type().is_floating():
        return column.isnull()
    return column.isnull() | column.isnan().fill_null(False)


def how_many(condition: ibis.Value) -> ibis.Value:
    """In how many rows the condition is true; NULL without rows."""
    import ibis

    return ibis.ifelse(condition, 1, 0).cast("int64").sum()


def present(column: ibis.Value) -> ibis.Value:
    """The value, with NaN turned into NULL."""
    import ibis

    if not column.type().is_floating():
        return column
    return ibis.ifelse(column.isnan(), ibis.null(column.type()), column)


def number(column: ibis.Value) -> ibis.Value:
    """The value as a double: truth as 0 and 1, a time as seconds since 1970. NULL where it is missing or infinite."""
    import ibis

    dtype = column.type()
    if dtype.is_timestamp() or dtype.is_date():
        moment = column.cast("timestamp") if dtype.is_date() else column
        return moment.epoch_seconds().cast("float64")
    if dtype.is_boolean():
        # Not cast: PostgreSQL makes no number of truth, or not of every width.
        return ibis.ifelse(column, 1.0, ibis.ifelse(~column, 0.0, ibis.null("float64")))
    double = column.cast("float64")
    if not dtype.is_floating():
        return double
    return ibis.ifelse(double.isnan() | double.isinf(), ibis.null("float64"), double)


def squarable(value: ibis.Value) -> ibis.Value:
    """A number, NULL where its square is not a double any more."""
    import ibis

    return ibis.ifelse(value.abs() < LARGEST_SQUARED, value, ibis.null("float64"))


def text(column: ibis.Value) -> ibis.Value:
    """The value as text, the same for the same value. NULL where it is missing, infinite or too long."""
    import ibis

    dtype = column.type()
    if dtype.is_boolean():
        return ibis.ifelse(column, "true", ibis.ifelse(~column, "false", ibis.null("string")))
    if dtype.is_string():
        return ibis.ifelse(column.length() <= LONGEST_TEXT, column, ibis.null("string"))
    if dtype.is_floating():
        return ibis.ifelse(column.isnan() | column.isinf(), ibis.null(dtype), column).cast("string")
    return column.cast("string")


def as_text(value: Any) -> str:
    """A plain value as `text` writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse(value: str, dtype: dt.DataType) -> Any:
    """The plain value that `text` was made from."""
    if dtype.is_boolean():
        return value == "true"
    if dtype.is_integer():
        return int(value)
    if dtype.is_numeric():
        return float(value)
    return value


def bucket(value: ibis.Value, edges: Sequence[float]) -> ibis.Value:
    """The number of edges that are smaller than the value: 0 to len(edges). NULL where there is no value."""
    import ibis

    if len(edges) < 2:
        above = ibis.ifelse(value > edges[0], 1, 0) if edges else ibis.literal(0)
        return ibis.ifelse(value.isnull(), ibis.null("int16"), above).cast("int16")
    # One node of the expression, however many edges: a tree of comparisons takes Ibis ten times as long to compile.
    return value.bucket(list(edges), closed="right", close_extreme=False, include_under=True, include_over=True).cast(
        "int16"
    )


def counts_by_bucket(
    table: ibis.Table, numbers: Mapping[str, tuple[ibis.Value, Sequence[float]]], label: ibis.Value | None = None
) -> Iterator[tuple[str, int, str | None, int]]:
    """How many rows fall into each `bucket` of many numbers, as (name, bucket, label, count).

    Rows without a number are not counted.

    :param numbers: by name, the number and its edges.
    :param label: what rows are told apart by as well; without one it is empty text.

    DuckDB does it in one pass and one aggregate a number; for other engines each number is grouped by itself.
    """
    import ibis

    if table.get_backend().name != "duckdb":
        branches = []
        for name, (number, edges) in numbers.items():
            keys = {
                "name": ibis.literal(name),
                "place": bucket(number, edges),
                "label": ibis.literal("") if label is None else label,
            }
            branches.append(table.group_by(**keys).aggregate(n=number.count()))
        for row in run_together(branches):
            if row["n"]:
                yield row["name"], row["place"], row["label"], row["n"]
        return

    @ibis.udf.agg.builtin(name="histogram", signature=(("float64", "array<float64>"), "map<float64, int64>"))
    def histogram(number, bins):  # type: ignore[no-untyped-def]
        """How many numbers lie at each of the bins' upper edges or between it and the one before."""

    for part in in_parts(list(numbers.items())):
        # DuckDB reads a list of short decimals as decimals of one scale, unless one of them is a double. No double is
        # smaller than the first edge, and what is larger than the last one is counted under infinity.
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
                for place, (_, count) in enumerate(others):
                    total = count + (lowest if place == 0 else 0)
                    if total:
                        yield name, place, "" if label is None else row["label"], total


def run(expression: ibis.Table) -> list[dict[str, Any]]:
    """The rows of a small result."""
    rows: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return rows


def run_together(branches: Iterable[ibis.Table]) -> Iterator[dict[str, Any]]:
    """The rows of many small results that have the same columns, as few queries."""
    import ibis

    for part in in_parts(list(branches)):
        yield from run(ibis.union(*part) if len(part) > 1 else part[0])


def in_parts(items: Sequence[T], size: int = COLUMNS_PER_QUERY) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `size` items.

    >>> list(in_parts("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]
