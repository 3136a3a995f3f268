"""Checks of a few plain values, for which arrays would take longer than the prediction.

These checks accept only what needs no conversion and no message. For anything else they return None; then the checks of
`column_values` convert the values, or say what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_mlops.serving.log.schema import FeatureKind
from airflow_provider_mlops.serving.rows.input_schema import InputSchema

MAX_ROWS = 16
"""For more rows, arrays are faster."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_EXACT = 2**53
"""Whole numbers up to this one are exact as floating-point numbers, which a column with missing values has."""


def plain_cells(schema: InputSchema, columns: list[list[Any]]) -> list[list[Any]] | None:
    """Return the values of each column as `Rows` keeps them; None if a value needs the checks of `column_values`.

    Parameters
    ----------
    columns
        One list per column of the schema, all of one length.

    Examples
    --------
    >>> from airflow_provider_mlops.serving.rows.input_schema import Feature
    >>> schema = InputSchema((Feature("age", "double"), Feature("town", "string", nullable=True)))
    >>> plain_cells(schema, [[41], [None]])
    [[41.0], [None]]
    >>> plain_cells(schema, [["41"], [None]]) is None
    True
    """
    cells: list[list[Any]] = []
    for feature, values in zip(schema.features, columns, strict=True):
        check = _CHECKS.get(feature.kind)
        if check is None:
            return None
        checked = check(values, feature.nullable)
        if checked is None:
            return None
        cells.append(checked)
    return cells


def _doubles(values: list[Any], nullable: bool) -> list[Any] | None:
    converted = []
    for value in values:
        kind = type(value)
        if kind is float:
            # Neither infinity nor NaN.
            if value - value != 0.0:
                return None
        elif kind is int:
            try:
                value = float(value)
            except OverflowError:
                return None
        elif value is not None or not nullable:
            return None
        converted.append(value)
    return converted


def _longs(values: list[Any], nullable: bool) -> list[Any] | None:
    least, most = (-_EXACT, _EXACT) if None in values else (_LEAST, _MOST)
    for value in values:
        if type(value) is int:
            if not least <= value <= most:
                return None
        elif value is not None or not nullable:
            return None
    return values


def _booleans(values: list[Any], nullable: bool) -> list[Any] | None:
    for value in values:
        if type(value) is not bool and (value is not None or not nullable):
            return None
    return values


def _strings(values: list[Any], nullable: bool) -> list[Any] | None:
    for value in values:
        if type(value) is str:
            # Half of a surrogate pair is not ASCII.
            if not value.isascii():
                return None
        elif value is not None or not nullable:
            return None
    return values


_CHECKS: dict[FeatureKind, Callable[[list[Any], bool], list[Any] | None]] = {
    "double": _doubles,
    "long": _longs,
    "boolean": _booleans,
    "string": _strings,
}
