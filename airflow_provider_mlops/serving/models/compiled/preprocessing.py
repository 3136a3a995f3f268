"""The matrix that an estimator gets for rows: compiled transformers, also of single columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from airflow_provider_mlops.serving.models.compiled import categories, elementwise
from airflow_provider_mlops.serving.models.compiled.categories import Table
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats, Operation
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows


class _Branch(Protocol):
    """Transformers of some columns, whose outputs are neighbors."""

    @property
    def width(self) -> int:
        """Number of outputs."""

    def fill(self, out: Floats, rows: Rows) -> bool:
        """Write the outputs; False if scikit-learn must see the rows."""


@dataclass(frozen=True)
class _Numbers:
    positions: tuple[int, ...]
    operations: Sequence[Operation]
    width: int

    def fill(self, out: Floats, rows: Rows) -> bool:
        values = rows.numbers(self.positions)
        for operation in self.operations:
            values = operation(values)
        out[:] = values
        return True


@dataclass(frozen=True)
class _Categories:
    positions: tuple[int, ...]
    base: Floats
    tables: Sequence[Table]
    width: int

    def fill(self, out: Floats, rows: Rows) -> bool:
        out[:] = self.base
        for position, table in zip(self.positions, self.tables, strict=True):
            if not table.fill(out, rows.values(position)):
                return False
        return True


@dataclass(frozen=True)
class _Columns:
    """A fitted ColumnTransformer: branches side by side."""

    branches: Sequence[_Branch]
    width: int

    def features(self, rows: Rows) -> Floats | None:
        out = np.empty((rows.count, self.width))
        start = 0
        for branch in self.branches:
            end = start + branch.width
            if not branch.fill(out[:, start:end], rows):
                return None
            start = end
        return out


class Preprocessing:
    """The transformers of a model.

    Parameters
    ----------
    transformers
        Fitted transformers in order.
    schema
        Columns of the rows.
    gets_array
        Whether the model gets all columns as an array of 64-bit floating-point numbers.

    Attributes
    ----------
    width
        Number of columns that the estimator gets.
    """

    def __init__(self, transformers: Sequence[Any], schema: InputSchema, gets_array: bool) -> None:
        compiler = _Compiler(schema, gets_array)
        first, rest = compiler.first(transformers)
        self._columns = first
        self._positions: tuple[int, ...] = () if first is not None else compiler.all_numbers()
        self.width = len(self._positions) if first is None else first.width
        self.operations = elementwise.operations(rest, self.width)

    def features(self, rows: Rows) -> Floats | None:
        """Return the matrix that the estimator gets; None if scikit-learn must see the rows."""
        features = rows.numbers(self._positions) if self._columns is None else self._columns.features(rows)
        if features is not None:
            for operation in self.operations:
                features = operation(features)
        return features

    @property
    def known_values(self) -> dict[int, list[Any]]:
        """Return the categories of the encoded columns, by the column's position."""
        if self._columns is None:
            return {}
        return {
            position: [value for value in table.places if value is not None]
            for branch in self._columns.branches
            if isinstance(branch, _Categories)
            for position, table in zip(branch.positions, branch.tables, strict=True)
        }


class _Compiler:
    def __init__(self, schema: InputSchema, gets_array: bool) -> None:
        self._schema, self._gets_array = schema, gets_array

    def first(self, transformers: Sequence[Any]) -> tuple[_Columns | None, Sequence[Any]]:
        """Return the compiled ColumnTransformer or encoder that comes first, if any, and the other transformers."""
        from sklearn.compose import ColumnTransformer
        from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

        for number, transformer in enumerate(transformers):
            if type(transformer) is ColumnTransformer:
                if number:
                    raise NotCompilableError("ColumnTransformer has a compiled form only as the first step")
                return self._column_transformer(transformer), transformers[1:]
            if type(transformer) in (OneHotEncoder, OrdinalEncoder):
                branch = self._branch(transformers[: number + 1], self._schema.positions)
                return _Columns([branch], branch.width), transformers[number + 1 :]
        return None, transformers

    def all_numbers(self) -> tuple[int, ...]:
        self._check_numbers(self._schema.positions)
        return self._schema.positions

    def _column_transformer(self, transformer: Any) -> _Columns:
        if transformer.transformer_weights is not None:
            raise NotCompilableError("ColumnTransformer has no compiled form with weights")
        branches: list[_Branch] = []
        for _, step, columns in transformer.transformers_:
            if isinstance(step, str) and step == "drop":
                continue
            positions = self._positions(columns)
            if positions:
                branches.append(self._branch(flatten(step), positions))
        if not branches:
            raise NotCompilableError("ColumnTransformer has no columns")
        return _Columns(branches, sum(branch.width for branch in branches))

    def _branch(self, steps: Sequence[Any], positions: tuple[int, ...]) -> _Branch:
        from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

        if any(type(step) in (OneHotEncoder, OrdinalEncoder) for step in steps):
            features = [self._schema.features[position] for position in positions]
            for feature in features:
                if feature.kind not in ("string", "integer", "long", "double"):
                    raise NotCompilableError(f"the {feature.kind} column {feature.name!r} is encoded as a category")
            names, is_text = [one.name for one in features], [one.kind == "string" for one in features]
            base, tables = categories.tables(names, is_text, steps)
            return _Categories(positions, base, tables, len(base))
        self._check_numbers(positions)
        return _Numbers(positions, elementwise.operations(steps, len(positions)), len(positions))

    def _positions(self, columns: Any) -> tuple[int, ...]:
        if isinstance(columns, slice):
            columns = list(range(len(self._schema.names)))[columns] if _of_integers(columns) else None
        elif isinstance(columns, np.ndarray):
            columns = columns.tolist()
        if not isinstance(columns, list | tuple) or not all(type(column) in (str, int, bool) for column in columns):
            raise NotCompilableError("ColumnTransformer selects columns by something other than names or positions")
        if columns and all(type(column) is bool for column in columns):
            columns = [place for place, selected in enumerate(columns) if selected]
        places = {name: place for place, name in enumerate(self._schema.names)}
        count = len(places)
        try:
            return tuple(places[one] if type(one) is str else range(count)[one] for one in columns)
        except (KeyError, IndexError):
            raise NotCompilableError("ColumnTransformer selects a column that the signature lacks") from None

    def _check_numbers(self, positions: Sequence[int]) -> None:
        for position in positions:
            feature = self._schema.features[position]
            if feature.kind not in (*NUMERIC, "boolean"):
                raise NotCompilableError(f"the {feature.kind} column {feature.name!r} is not encoded")
            if feature.kind == "float" and not self._gets_array:
                # scikit-learn may then calculate in 32 bits.
                raise NotCompilableError(f"the column {feature.name!r} has 32-bit floating-point numbers")


def flatten(estimator: Any) -> list[Any]:
    """Return the steps of a Pipeline, those of nested Pipelines included; or the estimator as the only step."""
    from sklearn.pipeline import Pipeline

    if type(estimator) is not Pipeline:
        return [] if elementwise.is_passthrough(estimator) else [estimator]
    return [part for _, step in estimator.steps for part in flatten(step)]


def _of_integers(columns: slice) -> bool:
    return all(type(one) in (int, type(None)) for one in (columns.start, columns.stop, columns.step))
