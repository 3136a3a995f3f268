"""The most frequent values of columns, and columns that look like identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.profile import ColumnProfile, TopValue

if TYPE_CHECKING:
    import ibis

MANY_VALUES = 100_000
"""Number of distinct values above which the top values of a large table are searched for in a sample."""

SAMPLE_ROWS = 100_000
"""Approximate number of rows in a sample."""


def fill_top_values(
    table: ibis.Table, columns: list[ColumnProfile], max_values: int, exact: bool
) -> list[ColumnProfile]:
    """Return the profiles with the most frequent values of every column, and with identifiers marked."""
    few = [column for column in columns if column.kind != "other"]
    if exact:
        # If all numbers of a column differ, none is frequent.
        few = [c for c in few if c.kind not in ("numeric", "temporal") or c.distinct != c.values]
    many: list[ColumnProfile] = []
    if not exact:
        many = [column for column in few if (column.distinct or 0) > MANY_VALUES]
        few = [column for column in few if (column.distinct or 0) <= MANY_VALUES]
    branches = [_most_frequent(table, column.name, max_values) for column in few]
    if many:
        candidates = _sample_candidates(table, many, max_values)
        branches += [_most_frequent(table, name, max_values, among=values) for name, values in candidates.items()]
    by_column: dict[str, list[TopValue]] = {}
    for row in ex.run_together(branches):
        value = ex.parse(row["value"], table[row["name"]].type())
        by_column.setdefault(row["name"], []).append(TopValue(value=value, count=row["n"]))
    filled = []
    for column in columns:
        top = sort_by_count(by_column.get(column.name, []))
        if column.kind in ("numeric", "temporal"):
            # A number that occurs once says nothing; one that occurs often may stand for a missing value.
            top = tuple(value for value in top if value.count > 1)
        filled.append(column.model_copy(update={"top_values": top, "identifier_like": _is_identifier(column, exact)}))
    return filled


def sort_by_count(values: list[TopValue]) -> tuple[TopValue, ...]:
    """Return the values, most frequent first."""
    return tuple(sorted(values, key=lambda value: (-value.count, str(value.value))))


def _sample_candidates(table: ibis.Table, columns: list[ColumnProfile], max_values: int) -> dict[str, list[str]]:
    """Return the values, as text, that occur repeatedly in a sample of each column."""
    import ibis

    fraction = min(1.0, SAMPLE_ROWS / columns[0].rows)
    candidates: dict[str, list[str]] = {}
    for row in ex.run_together(
        # Each column draws its own sample, so that only that column is read.
        _most_frequent(table.select(column.name).filter(ibis.random() < fraction), column.name, 3 * max_values)
        for column in columns
    ):
        if row["n"] > 1:
            candidates.setdefault(row["name"], []).append(row["value"])
    return candidates


def _most_frequent(table: ibis.Table, name: str, max_values: int, among: list[str] | None = None) -> ibis.Table:
    import ibis

    value = ex.text(table[name])
    table = table.filter(value.notnull() if among is None else value.isin(among))
    counted = table.group_by(name=ibis.literal(name), value=ex.text(table[name])).aggregate(n=table.count())
    return counted.order_by([counted.n.desc(), counted.value]).limit(max_values)


def _is_identifier(column: ColumnProfile, exact: bool) -> bool:
    """Return whether every row has a different value, in a type that identifiers have."""
    has_type = column.kind == "categorical" or (column.kind == "numeric" and "int" in column.type)
    # The estimate of distinct values is off by a few percent.
    required = column.values if exact else 0.9 * column.values
    return has_type and column.rows >= 100 and column.nulls == 0 and (column.distinct or 0) >= required
