"""Profiles tables where the rows are: on the engine, in a handful of queries for all columns.

Up to `EXACT_CELLS` cells everything is exact. In larger tables, figures that would not fit into bounded memory are
estimated, and `Profile.approximate` names them: distinct values (HyperLogLog), quantiles (t-digest, or the engine's own
method), rank correlations (from a sample), and the top values of columns with very many values (the values are found in
a sample, their counts are exact).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.binning import count_by, fill_bins
from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.data.profile import Profile, SliceProfile, TopValue
from airflow_provider_mlops.data.summaries import summaries
from airflow_provider_mlops.data.target import TargetAnalysis, TargetFigures
from airflow_provider_mlops.data.top_values import SAMPLE_ROWS, fill_top_values, sort_by_count
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis

log = logging.getLogger(__name__)

EXACT_CELLS = 5_000_000
"""Number of cells, rows times columns, up to which nothing is estimated."""

SLICE_VALUES = 100
"""Number of values of a slicing column that are listed."""


def profile(
    table: ibis.Table,
    *,
    target: str | None = None,
    slices: Sequence[str] = (),
    bins: int = 20,
    top_values: int = 10,
    exact_cells: int = EXACT_CELLS,
) -> Profile:
    """Return the profile of a table.

    Parameters
    ----------
    table
        Any Ibis table. Its backend does the work.
    target
        Column to predict, if there is one.
    slices
        Columns whose values rows are counted by.
    bins
        Number of bins of a histogram.
    top_values
        Number of most frequent values that are kept for each column.
    exact_cells
        Number of cells, rows times columns, up to which nothing is estimated.

    Raises
    ------
    InvalidSpecError
        The target or a slice is not a column, or the table has no rows.

    Examples
    --------
    >>> import ibis
    >>> ages = ibis.memtable({"age": [30, 40, 50], "town": ["Rome", "Oslo", "Rome"]})
    >>> profile(ages).column("age").mean
    40.0
    """
    for field, name in (("target", target), *(("slices", name) for name in slices)):
        if name is not None and name not in table.columns:
            raise InvalidSpecError(field, name, must_be_a_column(name, table.columns))
    started = time.monotonic()
    rows = int(ex.run(table.aggregate(rows=table.count()))[0]["rows"])
    if rows == 0:
        raise InvalidSpecError("dataset", "0 rows", "a profile needs at least one row. Check the extract step")
    exact = rows * len(table.columns) <= exact_cells
    columns = summaries(table, rows, bins, exact)
    analysis = None
    if target is not None:
        analysis = TargetAnalysis(table, columns, target, sample_rows=None if exact else SAMPLE_ROWS)
    columns, cells = fill_bins(table, columns, analysis.label if analysis else None)
    log.info(
        "Computed summaries and histograms of %s in %.1f s%s",
        pluralize(len(columns), "column"),
        time.monotonic() - started,
        "" if exact else "; figures that do not fit into memory are estimates",
    )
    columns = fill_top_values(table, columns, top_values, exact)
    estimates = [] if exact else ["distinct", "quantiles", "top_values"]
    figures = TargetFigures()
    if analysis is not None:
        columns, figures = analysis.run(columns, cells)
        if analysis.sampled:
            estimates.append("spearman")
    result = Profile(
        rows=rows,
        columns=tuple(columns),
        target=target,
        problem=figures.problem,
        class_balance=figures.class_balance,
        suspected_leakage=figures.suspected_leakage,
        duplicate_rows=_duplicates(table, rows, exact),
        slices=_slices(table, slices, rows),
        approximate=tuple(estimates),
    )
    log.info(
        "Profiled %s and %s in %.1f s",
        pluralize(rows, "row"),
        pluralize(len(columns), "column"),
        time.monotonic() - started,
    )
    return result


def _duplicates(table: ibis.Table, rows: int, exact: bool) -> int:
    """Return the number of rows that repeat another one.

    Rows of large tables are compared by 64-bit hashes, which practically never collide.
    """
    import ibis
    from ibis.common.exceptions import OperationNotDefinedError, UnsupportedOperationError

    # Missing values are equal, whether they were written as NULL or as NaN.
    table = table.select(**{name: ex.present(table[name]) for name in table.columns})
    if not exact:
        try:
            hashed = table.select(row=ibis.struct({name: table[name] for name in table.columns}).hash())
            return rows - int(ex.run(hashed.aggregate(n=hashed.row.nunique()))[0]["n"])
        except (OperationNotDefinedError, UnsupportedOperationError):
            log.info("The engine cannot hash rows, so duplicates are found by comparing whole rows")
    distinct = table.distinct()
    return rows - int(ex.run(distinct.aggregate(n=distinct.count()))[0]["n"])


def _slices(table: ibis.Table, slices: Sequence[str], rows: int) -> tuple[SliceProfile, ...]:
    branches = []
    for name in dict.fromkeys(slices):
        counted = count_by(table, name, value=ex.text(table[name]))
        branches.append(counted.order_by([counted.n.desc(), counted.value]).limit(SLICE_VALUES))
    by_column: dict[str, list[TopValue]] = {name: [] for name in dict.fromkeys(slices)}
    for row in ex.run_together(branches):
        value = None if row["value"] is None else ex.parse(row["value"], table[row["name"]].type())
        by_column[row["name"]].append(TopValue(value=value, count=row["n"]))
    return tuple(
        SliceProfile(column=name, counts=sort_by_count(counts), other=rows - sum(value.count for value in counts))
        for name, counts in by_column.items()
    )
