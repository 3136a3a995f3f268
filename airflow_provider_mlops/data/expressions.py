"""The Ibis expressions that profiles are made of: what a column is as a number, as text, and as a bin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt

    from airflow_provider_mlops.data.profile import Kind

COLUMNS_PER_QUERY = 40
"""Engines plan queries over a thousand columns slowly, so wide tables are asked about in parts."""

LONGEST_TEXT = 1000
"""Text longer than this is no category: it is counted, but not kept as a top value."""

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
        return column.cast("int8").cast("float64")
    double = column.cast("float64")
    if not dtype.is_floating():
        return double
    return ibis.ifelse(double.isnan() | double.isinf(), ibis.null("float64"), double)


def squarable(value: ibis.Value) -> ibis.Value:
    """A number, NULL where its square is not a double any more."""
    import ibis

    return ibis.ifelse(value.abs() < LARGEST_SQUARED, value, ibis.null("float64"))


def text(column: ibis.Value) -> ibis.Value:
    """The value as text, the same for the same value. NULL where it is missing or too long."""
    import ibis

    dtype = column.type()
    if dtype.is_boolean():
        return ibis.ifelse(column, "true", ibis.ifelse(~column, "false", ibis.null("string")))
    if dtype.is_string():
        return ibis.ifelse(column.length() <= LONGEST_TEXT, column, ibis.null("string"))
    return present(column).cast("string")


def parse(value: str, dtype: dt.DataType) -> Any:
    """The plain value that `text` was made from."""
    if dtype.is_boolean():
        return value == "true"
    if dtype.is_integer():
        return int(value)
    if dtype.is_numeric():
        return float(value)
    return value


def bucket(value: ibis.Value, inner_edges: Sequence[float], *, closed: Literal["left", "right"]) -> ibis.Value:
    """The index of the bin of a number, 0 to len(inner_edges).

    An edge belongs to the bin on its left where `closed` is "right", and to the one on its right where it is "left".
    """
    import ibis

    if not inner_edges:
        return ibis.literal(0, type="int16")
    if len(inner_edges) == 1:
        goes_left = value <= inner_edges[0] if closed == "right" else value < inner_edges[0]
        return ibis.ifelse(goes_left, 0, 1).cast("int16")
    # One node of the expression, however many edges: a tree of comparisons takes Ibis ten times as long to compile.
    return value.bucket(
        list(inner_edges), closed=closed, close_extreme=False, include_under=True, include_over=True
    ).cast("int16")


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
