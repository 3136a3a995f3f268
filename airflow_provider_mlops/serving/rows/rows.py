"""Validated rows, as the model and the log use them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.log.schema import FeatureKind
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, InputSchema

if TYPE_CHECKING:
    import pandas as pd


PLAIN = frozenset(("double", "long", "boolean", "string"))
"""Kinds whose values can be plain Python values."""


class Rows:
    """Rows that match an input schema, in one of three forms: a matrix, an array per column, or a list per column.

    Parameters
    ----------
    schema
        Schema that the rows match.
    count
        Number of rows.
    matrix
        Values of shape (count, features), if all columns are float64.
    columns
        One array of shape (count,) per column, if there are many rows or unusual types.
    cells
        One list of plain values per column, with None for a missing value, if there are few rows: for one row, creating
        an array per column takes longer than most predictions. Only for the kinds in `PLAIN`.
    """

    def __init__(
        self,
        schema: InputSchema,
        count: int,
        *,
        matrix: NDArray[np.float64] | None = None,
        columns: list[NDArray[Any]] | None = None,
        cells: list[list[Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.count = count
        self._matrix = matrix
        self._columns = columns
        self._cells = cells

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts in order. The parts must have the same layout."""
        first = parts[0]
        count = sum(part.count for part in parts)
        if first._matrix is not None:
            return cls(first.schema, count, matrix=np.concatenate([part.array() for part in parts]))
        if all(part._cells is not None for part in parts):
            joined = [list(chain(*lists)) for lists in zip(*(part._cells or () for part in parts), strict=True)]
            return cls(first.schema, count, cells=joined)
        columns = [np.concatenate(arrays) for arrays in zip(*(part.columns() for part in parts), strict=True)]
        return cls(first.schema, count, columns=columns)

    def slice(self, start: int, end: int) -> Rows:
        """Return the rows from `start` up to, but not including, `end`."""
        if self._matrix is not None:
            matrix = self._matrix[start:end]
            return Rows(self.schema, len(matrix), matrix=matrix)
        if self._cells is not None:
            cells = [values[start:end] for values in self._cells]
            return Rows(self.schema, len(cells[0]), cells=cells)
        columns = [array[start:end] for array in self.columns()]
        return Rows(self.schema, len(columns[0]), columns=columns)

    @property
    def layout(self) -> tuple[str, ...]:
        """Types of the columns; rows with equal layouts can be concatenated without converting any value."""
        if self._matrix is not None:
            return ()
        if self._cells is not None:
            # A missing value changes the type of the whole column.
            features = self.schema.features
            return tuple(
                feature.name
                for feature, values in zip(features, self._cells, strict=True)
                if feature.kind not in ("double", "string") and None in values
            )
        return tuple(array.dtype.str for array in self.columns())

    def columns(self) -> list[NDArray[Any]]:
        """Return one array per feature, in the order of the schema."""
        if self._columns is None:
            if self._cells is not None:
                features = self.schema.features
                self._columns = [
                    _array(feature.kind, values) for feature, values in zip(features, self._cells, strict=True)
                ]
            else:
                assert self._matrix is not None
                self._columns = list(self._matrix.T)
        return self._columns

    def numbers(self, positions: tuple[int, ...]) -> NDArray[np.float64]:
        """Return columns of numbers or booleans as a matrix of shape (count, positions), with NaN for missing values.

        The matrix may be the one that these rows consist of, so the caller must not change it.
        """
        if self._matrix is not None:
            every = positions == self.schema.positions
            return self._matrix if every else self._matrix[:, positions]
        if self._cells is not None:
            cells = self._cells
            if self.count == 1:
                return np.array([[cells[position][0] for position in positions]], dtype=np.float64)
            return np.array([cells[position] for position in positions], dtype=np.float64).T
        columns = self.columns()
        return np.array([columns[position].astype(np.float64) for position in positions]).T

    def values(self, position: int) -> list[Any]:
        """Return the plain values of a column, with None for missing ones."""
        if self._cells is not None:
            return self._cells[position]
        array = self.columns()[position]
        values: list[Any] = array.tolist()
        return [None if value != value else value for value in values] if array.dtype.kind == "f" else values

    def array(self) -> NDArray[np.float64]:
        """Return all features as a matrix of shape (count, features). The schema must be numeric."""
        if self._matrix is not None:
            return self._matrix
        return np.ascontiguousarray(self.numbers(self.schema.positions))

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
        if self._cells is not None:
            return self._cells
        if self._matrix is not None and self.schema.double:
            return np.ascontiguousarray(self._matrix.T)
        return [
            _logged(feature.kind, array) for feature, array in zip(self.schema.features, self.columns(), strict=True)
        ]


def _array(kind: FeatureKind, values: list[Any]) -> NDArray[Any]:
    """Return plain values as `column_values` returns them."""
    if kind == "string" or (kind == "boolean" and None in values):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if kind == "boolean":
        return np.array(values, dtype=bool)
    # NumPy has no missing integer.
    return np.array(values, dtype=np.float64 if None in values else NUMERIC[kind])


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
