"""Datatypes of the Open Inference Protocol, and the values that each can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value

NUMBERS = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    # NumPy has no type for it: these are the upper halves of FP32 numbers.
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Numeric datatypes and the NumPy types of their binary values."""

DATATYPES = frozenset(NUMBERS) | {"BOOL", "BYTES"}
"""All datatypes."""

RAW_ONLY = "BF16"
"""The datatype whose values can only be sent in binary."""


_FLOATS = frozenset((int, float))


class _Limits(NamedTuple):
    """The least and the greatest value of a datatype, both in words, and the types of such numbers in JSON."""

    low: float
    high: float
    text: str
    usual: frozenset[type]


def _limits(datatype: str, dtype: str) -> _Limits | None:
    kind = np.dtype(dtype)
    if datatype == RAW_ONLY or datatype == "FP64":
        # JSON has no BF16, and all its numbers are FP64.
        return None
    if kind.kind == "f":
        largest = float(np.finfo(kind).max)
        # What is beyond the largest number by less than half of its last digit is rounded to it.
        beyond = {"FP16": 65_519.999, "FP32": 3.4028235677973362e38}[datatype]
        return _Limits(-beyond, beyond, f"numbers from {-largest:.8g} to {largest:.8g}", _FLOATS)
    limits = np.iinfo(kind)
    return _Limits(limits.min, limits.max, f"integers from {limits.min} to {limits.max}", frozenset((int,)))


_LIMITS = {datatype: _limits(datatype, dtype) for datatype, dtype in NUMBERS.items()}


def check_range(name: str, datatype: str, values: Sequence[Any]) -> None:
    """Check that numbers from JSON are ones of their datatype: integers if it has only these, and in its range.

    Missing values and values that are not numbers are left to the checks of the column. Raises RequestError (422).

    Examples
    --------
    >>> check_range("age", "INT8", [-128, 127, None])
    >>> check_range("age", "INT8", [300])
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.serving.rows.request_error.RequestError: Tensor 'age' has the datatype INT8, but value 0 is \
300. INT8 holds integers from -128 to 127.
    """
    limits = _LIMITS[datatype]
    if limits is None or not values:
        return
    if set(map(type, values)) <= limits.usual and limits.low <= min(values) and max(values) <= limits.high:
        return
    for position, value in enumerate(values):
        if type(value) not in (int, float) or value != value or value in (math.inf, -math.inf):
            continue
        is_one = limits.low <= value <= limits.high and (limits.usual == _FLOATS or value == int(value))
        if not is_one:
            raise RequestError(
                422,
                f"Tensor {format_value(name)} has the datatype {datatype}, but value {position} is "
                f"{format_value(value)}. {datatype} holds {limits.text}.",
                name,
            )
