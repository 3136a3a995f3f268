"""Checks of a request's values against a model's signature, and their conversion to arrays.

Types are exact: text is not a number, and true is not 1. An integer is accepted for a floating-point
column, and a number with a zero fraction for an integer column. null and NaN are missing values.
Infinity is never accepted, because no estimator accepts it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.log.schema import FeatureKind
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value
from airflow_provider_mlops.serving.rows.rows import Rows

_NO_ROWS = "The request has no rows. Send at least one."

_LARGEST: dict[FeatureKind, float] = {
    "integer": 2**31 - 1,
    "long": 2**63 - 1,
    "float": float(np.finfo(np.float32).max),
    "double": float(np.finfo(np.float64).max),
}
_NUMBERS_OR_NULL = frozenset((int, float, type(None)))


def from_columns(schema: InputSchema, columns: Mapping[str, Sequence[Any]]) -> Rows:
    """Return rows from values by column, in any order of columns. Raises RequestError (422), naming the column."""
    _check_names(schema, columns)
    lengths = {name: len(values) for name, values in columns.items()}
    count = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != count:
            message = f"Column {format_value(name)} has {pluralize(length, 'value')}, but other columns have {count}."
            raise RequestError(422, message, name)
    if count == 0:
        raise RequestError(422, _NO_ROWS)
    missing = [None] * count
    return Rows(schema, count, columns=[_column(f, columns.get(f.name, missing)) for f in schema.features])


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
        raise RequestError(422, _NO_ROWS)
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


def from_records(schema: InputSchema, records: Sequence[Any]) -> Rows:
    """Return rows from one object per row. Raises RequestError (422), naming the column or the row."""
    if not records:
        raise RequestError(422, _NO_ROWS)
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
    if not _NUMBERS_OR_NULL.issuperset(map(type, cells)):
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


def _column(feature: Feature, values: Sequence[Any]) -> NDArray[Any]:
    if feature.kind in NUMERIC:
        return _array_of_numbers(feature, values) if isinstance(values, np.ndarray) else _numbers(feature, values)
    if isinstance(values, np.ndarray) and values.dtype == bool:
        return values
    convert = _CONVERT[feature.kind]
    array = np.empty(len(values), dtype=object)
    some_missing = False
    for position, value in enumerate(values):
        if value is None or value != value:
            if not feature.nullable:
                _refuse_missing(feature, position)
            some_missing = True
            continue
        try:
            array[position] = convert(value)
        except (TypeError, ValueError):
            _refuse_type(feature, position, value)
    if feature.kind == "datetime":
        return array.astype("datetime64[us]").astype("datetime64[ns]")
    return array.astype(bool) if feature.kind == "boolean" and not some_missing else array


def _numbers(feature: Feature, values: Sequence[Any]) -> NDArray[Any]:
    types = set(map(type, values))
    if not types <= _NUMBERS_OR_NULL:
        position = next(place for place, value in enumerate(values) if type(value) not in _NUMBERS_OR_NULL)
        _refuse_type(feature, position, values[position])
    dtype = NUMERIC[feature.kind]
    whole = feature.kind in ("integer", "long")
    try:
        if whole and types == {int}:
            return np.array(values, dtype=dtype)
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        limit = _LARGEST[feature.kind]
        position = next(place for place, value in enumerate(values) if value is not None and abs(value) > limit)
        _refuse_range(feature, position, values[position])
    return _whole_or_not(feature, array)


def _array_of_numbers(feature: Feature, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column of numbers that was sent in binary, as the type of the feature."""
    dtype = NUMERIC[feature.kind]
    if values.dtype.kind == "f" or feature.kind not in ("integer", "long"):
        return _whole_or_not(feature, values.astype(np.float64))
    if len(values):
        limit = int(_LARGEST[feature.kind])
        for position in (int(values.argmin()), int(values.argmax())):
            if not -limit - 1 <= int(values[position]) <= limit:
                _refuse_range(feature, position, values[position])
    return values.astype(dtype)


def _whole_or_not(feature: Feature, array: NDArray[np.float64]) -> NDArray[Any]:
    """Return 64-bit floating-point numbers as the type of the feature."""
    whole = feature.kind in ("integer", "long")
    missing = np.isnan(array)
    if missing.any() and not feature.nullable:
        _refuse_missing(feature, int(missing.argmax()))
    if whole:
        limit = _LARGEST[feature.kind]
        with np.errstate(invalid="ignore"):
            wrong = ~missing & (np.trunc(array) != array)
            outside = ~missing & ((array < -limit - 1) | (array >= float(limit) + 1))
        if wrong.any():
            _refuse_type(feature, int(wrong.argmax()), float(array[wrong.argmax()]))
    else:
        outside = ~missing & (np.abs(array) > _LARGEST[feature.kind])
    if outside.any():
        _refuse_range(feature, int(outside.argmax()), float(array[outside.argmax()]))
    # NumPy has no missing integer, and neither had the DataFrame that the model was trained on.
    return array if whole and missing.any() else array.astype(NUMERIC[feature.kind])


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    # Half of a surrogate pair is valid JSON, but cannot be written to a file.
    value.encode()
    return value


def _binary(value: Any) -> bytes:
    if type(value) is bytes:
        # In a binary tensor, bytes are not encoded.
        return value
    try:
        return base64.b64decode(_string(value), validate=True)
    except binascii.Error as error:
        raise ValueError from error


def _datetime(value: Any) -> datetime:
    moment = datetime.fromisoformat(_string(value))
    # Distant years are not converted to UTC: at the ends of the calendar, that is impossible.
    if moment.tzinfo is not None and 1677 <= moment.year <= 2262:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if not 1678 <= moment.year <= 2261:
        raise ValueError
    return moment


_CONVERT: dict[FeatureKind, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "string": _string,
    "binary": _binary,
    "datetime": _datetime,
}

_DESCRIPTIONS: dict[FeatureKind, str] = {
    "integer": "a 32-bit integer",
    "long": "a 64-bit integer",
    "float": "a number",
    "double": "a number",
    "boolean": "true or false",
    "string": "a string",
    "binary": "a Base64 string",
    "datetime": "an ISO 8601 time between the years 1678 and 2261",
}


def _refuse_type(feature: Feature, position: int, value: Any) -> NoReturn:
    column, expected = format_value(feature.name), _DESCRIPTIONS[feature.kind]
    message = f"Column {column} must contain {expected}, but row {position} contains {format_value(value)}."
    raise RequestError(422, message, feature.name)


def _refuse_range(feature: Feature, position: int, value: Any) -> NoReturn:
    problem = "infinity" if value in (float("inf"), float("-inf")) else "a number that is too large"
    message = f"Column {format_value(feature.name)} ({feature.kind}) contains {problem} in row {position}."
    raise RequestError(422, message, feature.name)


def _refuse_missing(feature: Feature, position: int) -> NoReturn:
    message = (
        f"Column {format_value(feature.name)} has a missing value in row {position}, and the model does not accept it."
    )
    raise RequestError(422, message, feature.name)
