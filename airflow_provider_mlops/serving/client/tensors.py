"""Converts rows to the tensors of the Open Inference Protocol, and its outputs to lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from airflow_provider_mlops.data.json_values import json_value
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.protocols.responses import OutputTensor


def encode(rows: Any) -> list[dict[str, Any]]:
    """Return rows as one tensor per column. Rows are a DataFrame, a list of records, or a mapping of columns.

    Examples
    --------
    >>> encode([{"age": 40.0, "town": "Rome"}])[1]
    {'name': 'town', 'shape': [1], 'datatype': 'BYTES', 'data': ['Rome']}
    """
    return [_tensor(name, values) for name, values in _columns(rows).items()]


def decode(tensor: OutputTensor) -> list[Any]:
    """Return the values of an output: one value per row or, for two dimensions, one list per row."""
    data, shape = tensor["data"], tensor["shape"]
    if len(shape) == 1:
        return list(data)
    return [data[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]


def _columns(rows: Any) -> dict[str, list[Any]]:
    if isinstance(rows, Mapping):
        return {str(name): list(values) for name, values in rows.items()}
    if hasattr(rows, "columns"):
        return {str(name): rows[name].tolist() for name in rows.columns}
    records = list(rows)
    names = dict.fromkeys(name for record in records for name in record)
    return {str(name): [record.get(name) for record in records] for name in names}


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    data = [_model_value(name, value) for value in values]
    example = next((value for value in data if value is not None), None)
    datatype = "BOOL" if isinstance(example, bool) else "BYTES" if isinstance(example, str) else "FP64"
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _model_value(column: str, value: Any) -> Any:
    value = json_value(value)
    if isinstance(value, float) and math.isinf(value):
        raise InvalidSpecError(column, value, "models do not accept infinite numbers. Remove these rows")
    return value
