"""Summaries of columns from one aggregation: counts, extremes, moments, quantiles, and the edges of bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.json_values import json_value_or_text
from airflow_provider_mlops.data.profile import ColumnProfile, Histogram, Kind

if TYPE_CHECKING:
    import ibis

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Probabilities of the quantiles in a profile."""


def summaries(table: ibis.Table, rows: int, bins: int, exact: bool) -> list[ColumnProfile]:
    """Return the profiles of all columns. Their bins have edges, but no counts yet.

    Parameters
    ----------
    table
        Table to summarize.
    rows
        Number of rows of the table.
    bins
        Number of bins of a histogram.
    exact
        Whether distinct values and quantiles are exact, which takes memory for every value.
    """
    probabilities = sorted({*QUANTILES, *(index / bins for index in range(1, bins))})
    profiles: list[ColumnProfile] = []
    for names in ex.in_parts(list(table.columns)):
        aggregates = {}
        for index, name in enumerate(names):
            for figure, expression in _figures(table[name], probabilities, exact).items():
                aggregates[f"{figure}_{index}"] = expression
        row = ex.run(table.aggregate(**aggregates))[0]
        for index, name in enumerate(names):
            figures = {key.rpartition("_")[0]: value for key, value in row.items() if key.endswith(f"_{index}")}
            profiles.append(_column(name, table[name].type(), rows, figures, probabilities, bins))
    return profiles


def _figures(column: ibis.Value, probabilities: list[float], exact: bool) -> dict[str, ibis.Value]:
    kind = ex.kind_of(column.type())
    figures = {"nulls": ex.count_where(ex.missing(column))}
    if kind == "other":
        return figures
    value = ex.number(column) if column.type().is_floating() else column
    figures["distinct"] = value.nunique() if exact else value.approx_nunique()
    if kind in ("numeric", "temporal"):
        number = ex.number(column)
        if column.type().is_floating():
            figures["infinite"] = ex.count_where(column.isinf())
        figures["quantiles"] = number.quantile(probabilities) if exact else number.approx_quantile(probabilities)
        figures["low"], figures["high"] = number.min(), number.max()
        figures["mean"], figures["std"] = ex.squarable(number).mean(), ex.squarable(number).std(how="sample")
    if kind != "boolean":
        figures["minimum"], figures["maximum"] = value.min(), value.max()
    return figures


def _column(
    name: str, dtype: Any, rows: int, figures: dict[str, Any], probabilities: list[float], bins: int
) -> ColumnProfile:
    """Return the profile of a column. Its bins have edges, but no counts yet."""
    kind: Kind = ex.kind_of(dtype)
    nulls, infinite = int(figures["nulls"] or 0), int(figures.get("infinite") or 0)
    values = rows - nulls - infinite
    fields: dict[str, Any] = {
        "name": name,
        "type": str(dtype),
        "kind": kind,
        "rows": rows,
        "nulls": nulls,
        "infinite": infinite,
    }
    if "distinct" in figures:
        # An estimate may exceed the number of values.
        fields["distinct"] = min(int(figures["distinct"]), values)
    if values == 0 or "low" not in figures or figures["low"] is None:
        if values:
            fields |= {key: json_value_or_text(figures.get(key)) for key in ("minimum", "maximum")}
        return ColumnProfile(**fields)
    low, high = float(figures["low"]), float(figures["high"])
    quantiles = {p: min(max(float(q), low), high) for p, q in zip(probabilities, figures["quantiles"], strict=True)}
    inner = sorted({quantiles[index / bins] for index in range(1, bins)} - {high})
    width = (high - low) / bins
    even = [low + width * index for index in range(1, bins)] if 0 < width < float("inf") else []
    # There are not always that many doubles between the extremes.
    even = [edge for edge in sorted(set(even)) if low < edge < high]
    fits = max(abs(low), abs(high)) < ex.MAX_SQUARABLE
    return ColumnProfile(
        **fields,
        minimum=json_value_or_text(figures["minimum"]),
        maximum=json_value_or_text(figures["maximum"]),
        mean=figures["mean"] if fits else None,
        std=figures["std"] if fits else None,
        quantiles={str(p): quantiles[p] for p in QUANTILES},
        histogram=Histogram(edges=(low, *even, high), counts=()),
        bins=Histogram(edges=(low, *inner, high), counts=()),
    )
