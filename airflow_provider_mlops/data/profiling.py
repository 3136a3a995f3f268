"""Profiles of tables, computed where the rows are: on the engine, in a handful of queries for all columns.

Up to `EXACT_CELLS` cells everything is exact. Beyond, what would not fit into bounded memory is estimated, and
`Profile.approximate` names it: distinct values (HyperLogLog), quantiles (t-digest or what the engine has) and, both
from a sample, rank correlations and which values of a column with very many are the top ones (their counts are exact).
"""

from __future__ import annotations

import bisect
import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.profile import (
    BinCounts,
    ColumnProfile,
    Histogram,
    Profile,
    SliceProfile,
    TopValue,
    bin_labels,
    list_names,
)
from airflow_provider_mlops.data.summaries import summaries
from airflow_provider_mlops.data.target import Cells, TargetAnalysis
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis

log = logging.getLogger(__name__)

EXACT_CELLS = 5_000_000
"""Rows times columns up to which nothing is estimated."""

MANY_VALUES = 100_000
"""With more distinct values than this, the top values of a large table are looked for in a sample."""

SAMPLE_ROWS = 100_000
"""How many rows a sample has, about."""

SLICE_VALUES = 100
"""How many values of a slicing column are listed."""


def profile(
    table: ibis.Table,
    *,
    target: str | None = None,
    slices: Sequence[str] = (),
    bins: int = 20,
    top_values: int = 10,
    exact_cells: int = EXACT_CELLS,
) -> Profile:
    """The profile of a table.

    :param table: any Ibis table; the work is done by its backend.
    :param target: the column to predict, if there is one.
    :param slices: columns whose values rows are counted by.
    :param bins: how many bins a histogram has.
    :param top_values: how many of the most frequent values are kept of a column.
    :param exact_cells: rows times columns up to which nothing is estimated.

    Raises InvalidSpecError if the target or a slice is not a column, or if the table has no rows.
    """
    for field, name in (("target", target), *(("slices", name) for name in slices)):
        if name is not None and name not in table.columns:
            raise InvalidSpecError(field, name, f"name one of the columns: {list_names(list(table.columns))}")
    started = time.monotonic()
    rows = int(ex.run(table.aggregate(rows=table.count()))[0]["rows"])
    if rows == 0:
        raise InvalidSpecError("dataset", "0 rows", "a table without rows has no profile: extract some first")
    exact = rows * len(table.columns) <= exact_cells
    log.info(
        "Profiling %s rows x %s columns%s",
        f"{rows:,}",
        len(table.columns),
        "" if exact else ", estimating where exact figures would not fit into memory",
    )
    columns = summaries(table, rows, bins, exact)
    analysis = None
    if target is not None:
        analysis = TargetAnalysis(table, columns, target, sample_rows=None if exact else SAMPLE_ROWS)
    columns, cells = _with_bins(table, columns, analysis.label if analysis else None)
    log.info("Summaries and histograms done after %.1f s", time.monotonic() - started)
    columns = _with_top_values(table, columns, top_values, exact)
    estimates = [] if exact else ["distinct", "quantiles", "top_values"]
    target_figures: dict[str, Any] = {}
    if analysis is not None:
        columns, target_figures = analysis.run(columns, cells)
        if analysis.sampled:
            estimates.append("spearman")
        log.info("Associations with the target %r done after %.1f s", target, time.monotonic() - started)
    result = Profile(
        rows=rows,
        columns=tuple(columns),
        target=target,
        duplicate_rows=_duplicates(table, rows, exact),
        slices=_slices(table, slices, rows),
        approximate=tuple(estimates),
        **target_figures,
    )
    log.info("Profiled %s rows x %s columns in %.1f s", f"{rows:,}", len(columns), time.monotonic() - started)
    return result


def bin_like(table: ibis.Table, column: ColumnProfile) -> BinCounts:
    """Count a table's rows in the bins of a reference column.

    The labels are those of `column.bin_counts`. Values that cannot be read as the reference's type count as missing.
    Raises InvalidSpecError if the table has no such column, or the reference has no bins.
    """
    return bins_like(table, [column])[column.name]


def bins_like(table: ibis.Table, columns: Sequence[ColumnProfile]) -> dict[str, BinCounts]:
    """`bin_like` for many columns in few queries, by column name."""
    import ibis

    labels: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, tuple[ibis.Value, Sequence[float]]] = {}
    branches = []
    for column in columns:
        if column.name not in table.columns:
            raise InvalidSpecError(
                "column", column.name, f"the rows have the columns {list_names(list(table.columns))}"
            )
        named = bin_labels(column)
        if named is None:
            raise InvalidSpecError(
                "column", column.name, f"a column of kind {column.kind} without values has no bins to count in"
            )
        labels[column.name] = named
        value = table[column.name]
        if column.bins is not None:
            low, *uppers = column.bins.edges
            numbers[column.name] = (_as_reference_number(value), (math.nextafter(low, -math.inf), *uppers))
        else:
            known = [ex.as_text(top.value) for top in column.top_values]
            text = ex.text(value)
            kept = ibis.ifelse(text.isin(known), text, ibis.null("string"))
            branches.append(_counted(table, column.name, value=kept, missing=ex.missing(value)))
    rows = int(ex.run(table.aggregate(n=table.count()))[0]["n"])
    counts = {name: [0] * len(named) for name, named in labels.items()}
    for name, place, _, count in ex.counts_by_bucket(table, numbers):
        counts[name][place + 1] += count
    for name in numbers:
        counts[name][0] = rows - sum(counts[name])
    places = {
        column.name: {ex.as_text(top.value): index for index, top in enumerate(column.top_values, start=1)}
        for column in columns
    }
    for row in ex.run_together(branches):
        name = row["name"]
        other = len(labels[name]) - 1
        counts[name][0 if row["missing"] else places[name].get(row["value"], other)] += row["n"]
    return {name: BinCounts(labels=labels[name], counts=tuple(counts[name])) for name in labels}


def _as_reference_number(value: ibis.Value) -> ibis.Value:
    """A value as the number that a reference with bins was made of; text is read as one where it can be."""
    kind = ex.kind_of(value.type())
    if kind in ("temporal", "boolean"):
        return ex.number(value)
    if kind == "numeric":
        return ex.present(value).cast("float64")
    return ex.present(value.cast("string").try_cast("float64"))


def _counted(table: ibis.Table, name: str, **by: ibis.Value) -> ibis.Table:
    """How many rows have each combination of the expressions, under the column's name."""
    import ibis

    return table.group_by(name=ibis.literal(name), **by).aggregate(n=table.count())


def _with_bins(
    table: ibis.Table, columns: list[ColumnProfile], label: ibis.Value | None
) -> tuple[list[ColumnProfile], dict[str, Cells]]:
    """Count the rows in both kinds of bins of every number, and by the label, reading each column once.

    Both kinds of edges together cut each column into cells, of which its bins are made up. Returns the counts of the
    cells as well, by (cell, label); cells are numbered in the order of their values.
    """
    edges: dict[str, list[float]] = {}
    for column in columns:
        if column.histogram is not None and column.bins is not None:
            # A cell holds its right edge. Bins of equal width hold their left one: they end just below it.
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
            wide = [math.nextafter(edge, -math.inf) for edge in column.histogram.edges[1:-1]]
            counted = [(ends[cell], count) for (cell, _), count in cells[column.name].items()]
            column = column.model_copy(
                update={
                    "histogram": _filled(column.histogram, wide, counted),
                    "bins": _filled(column.bins, column.bins.edges[1:-1], counted),
                }
            )
        filled.append(column)
    return filled, cells


def _filled(histogram: Histogram, inner: Sequence[float], counted: list[tuple[float, int]]) -> Histogram:
    """The histogram with the counts of the cells, each known by its right end."""
    counts = [0] * (len(histogram.edges) - 1)
    for end, count in counted:
        counts[bisect.bisect_left(inner, end)] += count
    return Histogram(edges=histogram.edges, counts=tuple(counts))


def _with_top_values(
    table: ibis.Table, columns: list[ColumnProfile], top_values: int, exact: bool
) -> list[ColumnProfile]:
    """Find the most frequent values of every column, and mark those that look like the name of a row."""
    import ibis

    few = [column for column in columns if column.kind != "other"]
    # Among numbers that all differ, none is frequent.
    few = [c for c in few if not (exact and c.kind in ("numeric", "temporal") and c.distinct == c.values)]
    many: list[ColumnProfile] = []
    if not exact:
        many = [column for column in few if (column.distinct or 0) > MANY_VALUES]
        few = [column for column in few if (column.distinct or 0) <= MANY_VALUES]
    branches = [_most_frequent(table, column.name, top_values) for column in few]
    if many:
        share = min(1.0, SAMPLE_ROWS / columns[0].rows)
        candidates: dict[str, list[str]] = {}
        for row in ex.run_together(
            # Each column draws its own sample, so that only that column is read.
            _most_frequent(table.select(column.name).filter(ibis.random() < share), column.name, 3 * top_values)
            for column in many
        ):
            if row["n"] > 1:
                candidates.setdefault(row["name"], []).append(row["value"])
        branches += [_most_frequent(table, name, top_values, among=values) for name, values in candidates.items()]
    found: dict[str, list[TopValue]] = {}
    for row in ex.run_together(branches):
        value = ex.parse(row["value"], table[row["name"]].type())
        found.setdefault(row["name"], []).append(TopValue(value=value, count=row["n"]))
    filled = []
    for column in columns:
        top = sorted(found.get(column.name, ()), key=lambda one: (-one.count, str(one.value)))
        if column.kind in ("numeric", "temporal"):
            # A number that occurs once says nothing; one that occurs often may stand for a missing value.
            top = [one for one in top if one.count > 1]
        filled.append(
            column.model_copy(update={"top_values": tuple(top), "identifier_like": _is_identifier(column, exact)})
        )
    return filled


def _most_frequent(table: ibis.Table, name: str, at_most: int, among: list[str] | None = None) -> ibis.Table:
    import ibis

    value = ex.text(table[name])
    table = table.filter(value.notnull() if among is None else value.isin(among))
    counted = table.group_by(name=ibis.literal(name), value=ex.text(table[name])).aggregate(n=table.count())
    return counted.order_by([counted.n.desc(), counted.value]).limit(at_most)


def _is_identifier(column: ColumnProfile, exact: bool) -> bool:
    """Whether every row has a value of its own, in a type that identifiers have."""
    whole = column.kind == "categorical" or (column.kind == "numeric" and "int" in column.type)
    # The estimate of distinct values is off by several per cent.
    enough = column.values if exact else 0.9 * column.values
    return whole and column.rows >= 100 and column.nulls == 0 and (column.distinct or 0) >= enough


def _duplicates(table: ibis.Table, rows: int, exact: bool) -> int:
    """How many rows repeat another one. Large tables compare 64-bit hashes of rows, which hardly ever collide."""
    import ibis
    from ibis.common.exceptions import OperationNotDefinedError, UnsupportedOperationError

    # Missing values are alike, whether they were written as NULL or as NaN.
    table = table.select(**{name: ex.present(table[name]) for name in table.columns})
    if not exact:
        try:
            hashed = table.select(row=ibis.struct({name: table[name] for name in table.columns}).hash())
            return rows - int(ex.run(hashed.aggregate(n=hashed.row.nunique()))[0]["n"])
        except (OperationNotDefinedError, UnsupportedOperationError):
            log.info("The engine cannot hash rows, so they are compared in full to find duplicates")
    distinct = table.distinct()
    return rows - int(ex.run(distinct.aggregate(n=distinct.count()))[0]["n"])


def _slices(table: ibis.Table, slices: Sequence[str], rows: int) -> tuple[SliceProfile, ...]:
    branches = []
    for name in dict.fromkeys(slices):
        counted = _counted(table, name, value=ex.text(table[name]))
        branches.append(counted.order_by([counted.n.desc(), counted.value]).limit(SLICE_VALUES))
    found: dict[str, list[TopValue]] = {name: [] for name in dict.fromkeys(slices)}
    for row in ex.run_together(branches):
        value = None if row["value"] is None else ex.parse(row["value"], table[row["name"]].type())
        found[row["name"]].append(TopValue(value=value, count=row["n"]))
    return tuple(
        SliceProfile(
            column=name,
            counts=tuple(sorted(counts, key=lambda one: (-one.count, str(one.value)))),
            other=rows - sum(one.count for one in counts),
        )
        for name, counts in found.items()
    )
