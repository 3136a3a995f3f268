"""What one aggregation says of every column: counts, extremes, moments, quantiles, and where its bins are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.profile import ColumnProfile, Histogram, Kind

if TYPE_CHECKING:
    import ibis

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles that a profile holds."""


def summaries(table: ibis.Table, rows: int, bins: int, exact: bool) -> list[ColumnProfile]:
    """The profiles of all columns, their bins with edges and no counts yet.

    :param rows: how many rows the table has.
    :param bins: how many bins a histogram gets.
    :param exact: whether distinct values and quantiles are counted exactly, which takes memory for every value.
    """
    wanted = sorted({*QUANTILES, *(index / bins for index in range(1, bins))})
    found: list[ColumnProfile] = []
    for names in ex.in_parts(list(table.columns)):
        aggregates = {}
        for index, name in enumerate(names):
            for figure, expression in _figures(table[name], wanted, exact).items():
                aggregates[f"{figure}_{index}"] = expression
        row = ex.run(table.aggregate(**aggregates))[0]
        for index, name in enumerate(names):
            figures = {key.rpartition("_")[0]: value for key, value in row.items() if key.endswith(f"_{index}")}
            found.append(_column(name, table[name].type(), rows, figures, wanted, bins))
    return found


def _figures(column: ibis.Value, wanted: list[float], exact: bool) -> dict[str, ibis.Value]:
    kind = ex.kind_of(column.type())
    figures = {"nulls": ex.how_many(ex.missing(column))}
    if kind == "other":
        return figures
    value = ex.number(column) if column.type().is_floating() else column
    figures["distinct"] = value.nunique() if exact else value.approx_nunique()
    if kind in ("numeric", "temporal"):
        number = ex.number(column)
        if column.type().is_floating():
            figures["infinite"] = ex.how_many(column.isinf())
        figures["quantiles"] = number.quantile(wanted) if exact else number.approx_quantile(wanted)
        figures["low"], figures["high"] = number.min(), number.max()
        figures["mean"], figures["std"] = ex.squarable(number).mean(), ex.squarable(number).std(how="sample")
    if kind != "boolean":
        figures["minimum"], figures["maximum"] = value.min(), value.max()
    return figures


def _column(name: str, dtype: Any, rows: int, figures: dict[str, Any], wanted: list[float], bins: int) -> ColumnProfile:
    """A column's profile, its bins with edges and no counts yet."""
    kind: Kind = ex.kind_of(dtype)
    nulls, infinite = int(figures["nulls"] or 0), int(figures.get("infinite") or 0)
    values = rows - nulls - infinite
    plain: dict[str, Any] = {
        "name": name,
        "type": str(dtype),
        "kind": kind,
        "rows": rows,
        "nulls": nulls,
        "infinite": infinite,
    }
    if "distinct" in figures:
        # An estimate may exceed what there is.
        plain["distinct"] = min(int(figures["distinct"]), values)
    if values == 0 or "low" not in figures or figures["low"] is None:
        if values:
            plain |= {key: _plain(figures.get(key)) for key in ("minimum", "maximum")}
        return ColumnProfile(**plain)
    low, high = float(figures["low"]), float(figures["high"])
    quantiles = {p: min(max(float(q), low), high) for p, q in zip(wanted, figures["quantiles"], strict=True)}
    inner = sorted({quantiles[index / bins] for index in range(1, bins)} - {high})
    width = (high - low) / bins
    even = [low + width * index for index in range(1, bins)] if 0 < width < float("inf") else []
    # Neighbouring doubles leave no room for so many bins.
    even = [edge for edge in sorted(set(even)) if low < edge < high]
    fits = max(abs(low), abs(high)) < ex.LARGEST_SQUARED
    return ColumnProfile(
        **plain,
        minimum=_plain(figures["minimum"]),
        maximum=_plain(figures["maximum"]),
        mean=figures["mean"] if fits else None,
        std=figures["std"] if fits else None,
        quantiles={str(p): quantiles[p] for p in QUANTILES},
        histogram=Histogram(edges=(low, *even, high), counts=()),
        bins=Histogram(edges=(low, *inner, high), counts=()),
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return (
        value.isoformat() if hasattr(value, "isoformat") else float(value) if hasattr(value, "as_tuple") else str(value)
    )
