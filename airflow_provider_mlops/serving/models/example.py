"""Example rows with which a model is tried when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.log.schema import FeatureKind
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows

_ROWS = 5


def example_rows(schema: InputSchema, example: Any) -> Rows | None:
    """Return the first rows of an input example, a DataFrame or an array; None if it does not fit the schema."""
    if example is None:
        return None
    if schema.row_shape is not None:
        return _example_tensor(schema, schema.row_shape, example)
    import pandas as pd

    frame = pd.DataFrame(example).head(_ROWS)
    frame.columns = [str(name) for name in frame.columns]
    if set(frame.columns) != set(schema.names):
        return None
    columns: list[NDArray[Any]] = []
    for feature in schema.features:
        values = frame[feature.name]
        if feature.kind in NUMERIC:
            array = values.to_numpy(dtype=np.float64, na_value=np.nan)
            columns.append(array if np.isnan(array).any() else array.astype(NUMERIC[feature.kind]))
        elif feature.kind == "datetime":
            columns.append(pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))
        elif feature.kind == "boolean" and not values.isna().any():
            columns.append(values.to_numpy(dtype=bool))
        else:
            columns.append(values.astype(object).where(values.notna(), None).to_numpy(dtype=object))
    return Rows(schema, len(frame), columns=columns)


def _example_tensor(schema: InputSchema, row_shape: tuple[int, ...], example: Any) -> Rows | None:
    if isinstance(example, dict):
        example = next(iter(example.values()), None)
    array = np.asarray(example)[:_ROWS] if np.ndim(example) else None
    if array is None or array.shape[1:] != row_shape or array.dtype.kind not in "iuf":
        return None
    values = array.reshape(len(array), -1)
    columns: list[NDArray[Any]] = [
        values[:, place].astype(NUMERIC[feature.kind]) for place, feature in enumerate(schema.features)
    ]
    return Rows(schema, len(array), columns=columns)


def blank(schema: InputSchema) -> Rows:
    """Return one row of zeros and empty text."""
    return Rows(schema, 1, columns=[_blank_column(feature.kind) for feature in schema.features])


def _blank_column(kind: FeatureKind) -> NDArray[Any]:
    if kind in NUMERIC:
        return np.zeros(1, dtype=NUMERIC[kind])
    if kind == "datetime":
        return np.zeros(1, dtype="datetime64[ns]")
    if kind == "boolean":
        return np.zeros(1, dtype=bool)
    return np.array(["" if kind == "string" else b""], dtype=object)


def with_missing(rows: Rows, names: set[str]) -> Rows:
    """Return the rows with all values missing in the named columns."""
    columns = []
    for feature, array in zip(rows.schema.features, rows.columns(), strict=True):
        if feature.name not in names:
            columns.append(array)
        elif feature.kind in NUMERIC:
            columns.append(np.full(rows.count, np.nan))
        elif feature.kind == "datetime":
            columns.append(np.full(rows.count, np.datetime64("NaT", "ns")))
        else:
            columns.append(np.full(rows.count, None, dtype=object))
    return Rows(rows.schema, rows.count, columns=columns)
