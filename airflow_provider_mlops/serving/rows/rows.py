"""Validated rows, as the model and the log use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, InputSchema

if TYPE_CHECKING:
    import pandas as pd


class Rows:
    """Rows that match an input schema.

    Parameters
    ----------
    schema
        Schema that the rows match.
    count
        Number of rows.
    matrix
        Values of shape (count, features), if all columns are float64.
    columns
        One array of shape (count,) per column, otherwise.
    """

    def __init__(
        self,
        schema: InputSchema,
        count: int,
        *,
        matrix: NDArray[np.float64] | None = None,
        columns: list[NDArray[Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.count = count
        self._matrix = matrix
        self._columns = columns

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts in order. The parts must have the same layout."""
        first = parts[0]
        count = sum(part.count for part in parts)
        if first._matrix is not None:
            return cls(first.schema, count, matrix=np.concatenate([part.array() for part in parts]))
        columns = [np.concatenate(arrays) for arrays in zip(*(part.columns() for part in parts), strict=True)]
        return cls(first.schema, count, columns=columns)

    def slice(self, start: int, end: int) -> Rows:
        """Return the rows from `start` up to, but not including, `end`."""
        if self._matrix is not None:
            matrix = self._matrix[start:end]
            return Rows(self.schema, len(matrix), matrix=matrix)
        columns = [array[start:end] for array in self.columns()]
        return Rows(self.schema, len(columns[0]), columns=columns)

    @property
    def layout(self) -> tuple[str, ...]:
        """Types of the columns; rows with equal layouts can be concatenated without converting any value."""
        if self._matrix is not None:
            return ()
        return tuple(array.dtype.str for array in self.columns())

    def columns(self) -> list[NDArray[Any]]:
        """Return one array per feature, in the order of the schema."""
        if self._columns is None:
            assert self._matrix is not None
            self._columns = list(self._matrix.T)
        return self._columns

    def array(self) -> NDArray[np.float64]:
        """Return all features as a matrix of shape (count, features). The schema must be numeric."""
        if self._matrix is not None:
            return self._matrix
        return np.column_stack(self.columns()).astype(np.float64, copy=False)

    def tensor(self) -> NDArray[np.float64]:
        """Return all features with the shape that the model takes: a matrix, or (count, *row_shape)."""
        array = self.array()
        shape = self.schema.row_shape
        return array if shape is None else array.reshape(self.count, *shape)

    def frame(self) -> pd.DataFrame:
        """Return all features as a DataFrame with the names and types of the signature."""
        import pandas as pd

        if self.schema.double:
            return pd.DataFrame(self.array(), columns=list(self.schema.names), copy=False)
        arrays = {
            feature.name: _as_trained(feature.kind, array)
            for feature, array in zip(self.schema.features, self.columns(), strict=True)
        }
        return pd.DataFrame(arrays, columns=list(self.schema.names), copy=False)

    def logged(self) -> list[list[Any]] | NDArray[np.float64]:
        """Return one sequence of JSON-compatible values per feature; `log.schema.column` converts them back."""
        if self._matrix is not None and self.schema.double:
            return np.ascontiguousarray(self._matrix.T)
        return [
            _logged(feature.kind, array) for feature, array in zip(self.schema.features, self.columns(), strict=True)
        ]


def _as_trained(kind: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a column with missing text as NaN, as it was in training."""
    if kind == "string":
        missing = np.array([value is None for value in array])
        if missing.any():
            return np.where(missing, np.nan, array)
    return array


def _logged(kind: str, array: NDArray[Any]) -> list[Any]:
    values: list[Any]
    if kind == "datetime":
        values = array.astype("datetime64[us]").astype(np.int64).tolist()
        return [None if missing else value for value, missing in zip(values, np.isnat(array), strict=True)]
    values = array.tolist()
    if kind == "binary":
        return [None if value is None else value.decode("latin-1") for value in values]
    if kind in NUMERIC and kind not in ("float", "double") and array.dtype.kind == "f":
        return [None if value != value else int(value) for value in values]
    return values
