"""Checks of a request's rows against a model's signature: every column is there once, and each row has its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.models import plain_values
from airflow_provider_mlops.serving.models.column_values import NUMBERS_OR_NULL, column_values
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value
from airflow_provider_mlops.serving.rows.rows import Rows


def from_columns(schema: InputSchema, columns: Mapping[str, Sequence[Any]]) -> Rows:
    """Return rows from values by column, in any order of columns. Raises RequestError (422), naming the column."""
    rows = _plain(schema, columns)
    if rows is not None:
        return rows
    _check_names(schema, columns)
    lengths = {name: len(values) for name, values in columns.items()}
    count = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != count:
            message = f"Column {format_value(name)} has {pluralize(length, 'value')}, but other columns have {count}."
            raise RequestError(422, message, name)
    missing = [None] * count
    return Rows(schema, count, columns=[column_values(f, columns.get(f.name, missing)) for f in schema.features])


def from_table(schema: InputSchema, names: Sequence[str] | None, data: Sequence[Sequence[Any]]) -> Rows:
    """Return rows from values by row. Raises RequestError (422), naming the column or the row.

    Parameters
    ----------
    names
        Columns of `data`; by default, those of the signature in its order.
    """
    if names is None:
        names = schema.names
    else:
        _check_names(schema, names)
        if len(set(names)) != len(names):
            twice = next(name for position, name in enumerate(names) if name in names[:position])
            raise RequestError(422, f"Column {format_value(twice)} is listed twice.", twice)
    if not data:
        return no_rows(schema)
    width = len(names)
    for position, row in enumerate(data):
        if type(row) is not list:
            message = f"Row {position} must be a list of {pluralize(width, 'value')}, not {format_value(row)}."
            raise RequestError(422, message, f"row {position}")
        if len(row) != width:
            message = (
                f"Row {position} has {pluralize(len(row), 'value')}, but the request has {pluralize(width, 'column')}."
            )
            raise RequestError(422, message, f"row {position}")
    if schema.double and len(names) == len(schema.names):
        cells = data[0] if len(data) == 1 else chain.from_iterable(data)
        rows = _matrix(schema, tuple(names), data, cells, len(data))
        if rows is not None:
            return rows
    return from_columns(schema, dict(zip(names, map(list, zip(*data, strict=True)), strict=True)))


def from_flat(schema: InputSchema, data: Sequence[Any], count: int) -> Rows:
    """Return `count` rows from a flat list of values, with the columns in the signature's order.

    Raises RequestError (422).
    """
    width = len(schema.names)
    if schema.double and count:
        rows = _matrix(schema, schema.names, data, data, count)
        if rows is not None:
            return rows
    return from_table(schema, None, [data[row * width : (row + 1) * width] for row in range(count)])


def from_matrix(schema: InputSchema, matrix: NDArray[Any]) -> Rows:
    """Return rows from a matrix of numbers, with the columns in the signature's order. Raises RequestError (422)."""
    if schema.double and len(matrix):
        rows = _finite_matrix(schema, matrix.astype(np.float64))
        if rows is not None:
            return rows
    return from_columns(schema, dict(zip(schema.names, matrix.T, strict=True)))


def no_rows(schema: InputSchema) -> Rows:
    """Return an empty batch, which callers send if nothing is left to predict."""
    return Rows(schema, 0, columns=[column_values(feature, []) for feature in schema.features])


def from_records(schema: InputSchema, records: Sequence[Any]) -> Rows:
    """Return rows from one object per row. Raises RequestError (422), naming the column or the row."""
    if not records:
        return no_rows(schema)
    for position, record in enumerate(records):
        if type(record) is not dict:
            message = f"Row {position} must be a JSON object, not {format_value(record)}."
            raise RequestError(422, message, f"row {position}")
    names = dict.fromkeys(chain.from_iterable(records))
    _check_names(schema, names)
    columns = {}
    for name in names:
        optional = schema.by_name[name].optional
        for position, record in enumerate(records):
            if name not in record and not optional:
                raise RequestError(422, f"Row {position} lacks the column {format_value(name)}.", name)
        columns[name] = [record.get(name) for record in records]
    return from_columns(schema, columns)


def _plain(schema: InputSchema, columns: Mapping[str, Sequence[Any]]) -> Rows | None:
    """Return rows from lists of plain values; None if there is anything else, which the slow path then reports."""
    names = schema.names
    if len(columns) != len(names):
        return None
    lists: list[Any] = [columns.get(name) for name in names]
    if type(lists[0]) is not list or not lists[0]:
        return None
    count = len(lists[0])
    for values in lists:
        if type(values) is not list or len(values) != count:
            return None
    if schema.double:
        if not NUMBERS_OR_NULL.issuperset(map(type, chain.from_iterable(lists))):
            return None
        try:
            matrix = np.array(lists, dtype=np.float64)
        except OverflowError:
            return None
        return _finite_matrix(schema, np.ascontiguousarray(matrix.T))
    if count > plain_values.MAX_ROWS:
        return None
    cells = plain_values.plain_cells(schema, lists)
    return None if cells is None else Rows(schema, count, cells=cells)


def _check_names(schema: InputSchema, names: Iterable[str]) -> None:
    given = set(names)
    unknown = given.difference(schema.names)
    if unknown:
        name = min(unknown)
        known = ", ".join(map(repr, schema.names[:20])) + (", ..." if len(schema.names) > 20 else "")
        raise RequestError(422, f"The model has no column {format_value(name)}. Its columns are {known}.", name)
    if len(given) < len(schema.names):
        for feature in schema.features:
            if feature.name not in given and not feature.optional:
                message = f"The column {format_value(feature.name)} ({feature.kind}) is missing."
                raise RequestError(422, message, feature.name)
        if not given:
            raise RequestError(422, "The request has no columns. Send at least one.")


def _matrix(
    schema: InputSchema, names: tuple[str, ...], data: Sequence[Any], cells: Iterable[Any], count: int
) -> Rows | None:
    """Return rows from numbers only, nested or flat; None if something is wrong, which the slow path then reports."""
    if not NUMBERS_OR_NULL.issuperset(map(type, cells)):
        return None
    try:
        matrix = np.array(data, dtype=np.float64)
    except OverflowError:
        return None
    matrix = matrix.reshape(count, len(names))
    if names != schema.names:
        places = {name: place for place, name in enumerate(names)}
        matrix = matrix[:, [places[name] for name in schema.names]]
    return _finite_matrix(schema, matrix)


def _finite_matrix(schema: InputSchema, matrix: NDArray[np.float64]) -> Rows | None:
    if not np.isfinite(matrix).all() and (not schema.all_nullable or np.isinf(matrix).any()):
        return None
    return Rows(schema, len(matrix), matrix=matrix)
