"""The input columns of a model, from its MLflow signature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.serving.log.schema import FeatureKind

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

NUMERIC: dict[FeatureKind, type] = {"integer": np.int32, "long": np.int64, "float": np.float32, "double": np.float64}
"""NumPy types of the numeric kinds; the keys are MLflow's names."""

_TENSOR_TYPES: dict[FeatureKind, tuple[type, ...]] = {
    "integer": (np.int32, np.int8, np.int16, np.uint8, np.uint16),
    "long": (np.int64, np.uint32),
    "float": (np.float32, np.float16),
    "double": (np.float64,),
}
"""NumPy types of tensors, and the kind of their columns, which can hold all their values."""

MAX_TENSOR_VALUES = 16_384
"""Maximum number of values in a row of a tensor: each is a column of the prediction log."""

KINDS = (*NUMERIC, "boolean", "string", "binary", "datetime")

V2_DATATYPES = {
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "boolean": "BOOL",
    "string": "BYTES",
    "binary": "BYTES",
    "datetime": "BYTES",
}
"""Datatypes of the kinds in the Open Inference Protocol."""


@dataclass(frozen=True)
class Feature:
    """A column of the input.

    Parameters
    ----------
    name
        Name of the column.
    kind
        Type of the values, under MLflow's name: one of `KINDS`.
    optional
        Whether a request may omit the column.
    nullable
        Whether values may be missing.
    """

    name: str
    kind: FeatureKind
    optional: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class InputSchema:
    """The input columns, in the order of the signature.

    Parameters
    ----------
    features
        The columns.
    row_shape
        Shape of a row, if the model takes one tensor that is not a table: `(28, 28)` for a signature of shape
        (-1, 28, 28), and `()` for (-1,). The columns are then the values of a row in their order, named "0", "1" and so
        on. None for a table.
    tensor_name
        Name of that tensor.

    Examples
    --------
    >>> schema = InputSchema((Feature("age", "double"), Feature("town", "string")))
    >>> schema.names, schema.numeric
    (('age', 'town'), False)
    """

    features: tuple[Feature, ...]
    row_shape: tuple[int, ...] | None = None
    tensor_name: str = "input"

    @classmethod
    def of(cls, signature: ModelSignature | None) -> Self:
        """Return the schema of an MLflow signature.

        The signature must consist of scalar columns, or of one numeric tensor whose first dimension is that of the
        rows. The columns of a tensor of two dimensions are named "0", "1" and so on. Raises RejectedError for any other
        signature.
        """
        if signature is None or signature.inputs is None:
            raise RejectedError(
                "Rejected the model: it has no signature, so requests cannot be validated. Log the model with a "
                "signature."
            )
        from mlflow.types import DataType

        inputs = signature.inputs
        if inputs.is_tensor_spec():
            return cls._of_tensors(inputs.inputs)
        features = []
        for position, column in enumerate(inputs.inputs):
            if not isinstance(column.type, DataType):
                raise RejectedError(
                    f"Rejected the model: column {column.name!r} of its signature has type {column.type}, and only "
                    "scalar columns can be served."
                )
            optional = not column.required
            name = str(position) if column.name is None else str(column.name)
            kind = cast("FeatureKind", column.type.name)
            features.append(Feature(name, kind, optional=optional, nullable=optional))
        return cls(tuple(features))

    @classmethod
    def _of_tensors(cls, tensors: list[object]) -> Self:
        shape: tuple[int, ...] = tuple(getattr(tensors[0], "shape", ()))
        dtype = np.dtype(getattr(tensors[0], "type", "object"))
        kind = next((kind for kind, types in _TENSOR_TYPES.items() if dtype in types), None)
        row_shape = shape[1:]
        size = math.prod(row_shape)
        if len(tensors) != 1 or kind is None or not shape or any(length <= 0 for length in row_shape):
            raise RejectedError(
                "Rejected the model: a tensor signature must be one numeric tensor whose first dimension is the number "
                "of rows and whose other dimensions are known, such as (-1, 4) or (-1, 28, 28). Log the model with "
                "such a signature."
            )
        if size > MAX_TENSOR_VALUES:
            raise RejectedError(
                f"Rejected the model: a row of its tensor of shape {shape} has {size:,} values, and at most "
                f"{MAX_TENSOR_VALUES:,} can be served. Reduce the input before it is sent to the model."
            )
        features = tuple(Feature(str(position), kind) for position in range(size))
        name = getattr(tensors[0], "name", None)
        return cls(features, None if len(shape) == 2 else row_shape, "input" if name is None else str(name))

    def with_nullable(self, names: set[str]) -> InputSchema:
        """Return this schema with the named columns made nullable."""
        features = (replace(feature, nullable=feature.nullable or feature.name in names) for feature in self.features)
        return replace(self, features=tuple(features))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Positions of the columns, in order."""
        return tuple(range(len(self.features)))

    @cached_property
    def name_list(self) -> list[str]:
        """Names of the columns as a list, to compare with parsed JSON."""
        return list(self.names)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """Features by name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def numeric(self) -> bool:
        """Whether all columns hold numbers."""
        return all(feature.kind in NUMERIC for feature in self.features)

    @cached_property
    def double(self) -> bool:
        """Whether all columns hold 64-bit floating-point numbers, as most tables of measurements do."""
        return all(feature.kind == "double" for feature in self.features)

    @cached_property
    def all_nullable(self) -> bool:
        """Whether values may be missing in every column."""
        return all(feature.nullable for feature in self.features)
