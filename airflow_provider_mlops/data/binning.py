"""Counts of rows per bin: of the profiled table itself, and of other rows in the bins of a reference profile."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.data.profile import BinCounts, ColumnProfile, Histogram, bin_labels
from airflow_provider_mlops.data.target import Cells
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis


def bin_like(table: ibis.Table, column: ColumnProfile) -> BinCounts:
    """Count a table's rows in the bins of a reference column.

    The labels are those of `column.bin_counts`. Values that cannot be converted to the reference's type count as
    missing. Raises InvalidSpecError if the table has no such column, or if the reference has no bins.
    """
    return bins_like(table, [column])[column.name]


def bins_like(table: ibis.Table, columns: Sequence[ColumnProfile]) -> dict[str, BinCounts]:
    """Count a table's rows in the bins of many reference columns in few queries. See `bin_like`."""
    import ibis

    labels = {column.name: _labels(table, column) for column in columns}
    numbers: dict[str, tuple[ibis.Value, Sequence[float]]] = {}
    branches = []
    for column in columns:
        value = table[column.name]
        if column.bins is not None:
            low, *uppers = column.bins.edges
            numbers[column.name] = (_as_reference_number(value), (math.nextafter(low, -math.inf), *uppers))
        else:
            known = [ex.as_text(top.value) for top in column.top_values]
            text = ex.text(value)
            kept = ibis.ifelse(text.isin(known), text, ibis.null("string"))
            branches.append(count_by(table, column.name, value=kept, missing=ex.missing(value)))
    rows = int(ex.run(table.aggregate(n=table.count()))[0]["n"])
    counts = {name: [0] * len(names) for name, names in labels.items()}
    for name, bucket, _, count in ex.counts_by_bucket(table, numbers):
        counts[name][bucket + 1] += count
    for name in numbers:
        counts[name][0] = rows - sum(counts[name])
    positions = {
        column.name: {ex.as_text(top.value): index for index, top in enumerate(column.top_values, start=1)}
        for column in columns
    }
    for row in ex.run_together(branches):
        name = row["name"]
        other = len(labels[name]) - 1
        counts[name][0 if row["missing"] else positions[name].get(row["value"], other)] += row["n"]
    return {name: BinCounts(labels=labels[name], counts=tuple(counts[name])) for name in labels}


def count_by(table: ibis.Table, name: str, **by: ibis.Value) -> ibis.Table:
    """Return the number of rows with each combination of the expressions, with the column's name in `name`."""
    import ibis

    return table.group_by(name=ibis.literal(name), **by).aggregate(n=table.count())


def fill_bins(
    table: ibis.Table, columns: list[ColumnProfile], label: ibis.Value | None
) -> tuple[list[ColumnProfile], dict[str, Cells]]:
    """Count the rows in both kinds of bins of every numeric column, reading each column once.

    The edges of both kinds together cut a column into cells, and each bin consists of whole cells.

    Returns
    -------
    tuple
        The profiles with counts in their bins, and the counts of the cells by (cell, label) for each numeric column.
        Cells are numbered in the order of their values.
    """
    edges: dict[str, list[float]] = {}
    for column in columns:
        if column.histogram is not None and column.bins is not None:
            # A cell includes its right edge. Bins of equal width include their left edge: they end just below the next.
            below = (math.nextafter(edge, -math.inf) for edge in column.histogram.edges[1:-1])
            edges[column.name] = sorted({*below, *column.bins.edges[1:-1]})
    numbers = {name: (ex.number(table[name]), inner) for name, inner in edges.items()}
    cells: dict[str, Cells] = {name: {} for name in edges}
    for name, cell, class_, count in ex.counts_by_bucket(table, numbers, label):
        cells[name][(cell, class_)] = cells[name].get((cell, class_), 0) + count
    filled = []
    for column in columns:
        if column.histogram is not None and column.bins is not None:
            ends = [*edges[column.name], math.inf]
            inner = [math.nextafter(edge, -math.inf) for edge in column.histogram.edges[1:-1]]
            counts = [(ends[cell], count) for (cell, _), count in cells[column.name].items()]
            column = column.model_copy(
                update={
                    "histogram": _fill(column.histogram, inner, counts),
                    "bins": _fill(column.bins, column.bins.edges[1:-1], counts),
                }
            )
        filled.append(column)
    return filled, cells


def _labels(table: ibis.Table, column: ColumnProfile) -> tuple[str, ...]:
    if column.name not in table.columns:
        raise InvalidSpecError(
            "column", column.name, f"the rows must have this column. {suggest(column.name, table.columns)}"
        )
    labels = bin_labels(column)
    if labels is None:
        raise InvalidSpecError(
            "column",
            column.name,
            f"the reference has no bins for this column, whose kind is {column.kind}. Leave the column out",
        )
    return labels


def _as_reference_number(value: ibis.Value) -> ibis.Value:
    """Return a value as the kind of number that the bins of a reference are made of. Text is parsed if possible."""
    kind = ex.kind_of(value.type())
    if kind in ("temporal", "boolean"):
        return ex.number(value)
    if kind == "numeric":
        return ex.present(value).cast("float64")
    return ex.present(value.cast("string").try_cast("float64"))


def _fill(histogram: Histogram, inner: Sequence[float], cells: list[tuple[float, int]]) -> Histogram:
    """Return the histogram with the counts of the cells, which are given as (right end, count)."""
    counts = [0] * (len(histogram.edges) - 1)
    for end, count in cells:
        counts[bisect.bisect_left(inner, end)] += count
    return Histogram(edges=histogram.edges, counts=tuple(counts))
