"""The input columns of a model, from its MLflow signature."""

from __future__ import annotations

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

    Examples
    --------
    >>> schema = InputSchema((Feature("age", "double"), Feature("town", "string")))
    >>> schema.names, schema.numeric
    (('age', 'town'), False)
    """

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, signature: ModelSignature | None) -> Self:
        """Return the schema of an MLflow signature.

        The signature must consist of scalar columns, or of one two-dimensional numeric tensor, whose columns are named
        "0", "1" and so on. Raises RejectedError for any other signature.
        """
        if signature is None or signature.inputs is None:
            raise RejectedError(
                "Rejected the model: it has no signature, so requests cannot be validated. Log the model with a "
                "signature."
            )
        from mlflow.types import DataType

        inputs = signature.inputs
        if inputs.is_tensor_spec():
            return cls(_tensor_columns(inputs.inputs))
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

    def with_nullable(self, names: set[str]) -> InputSchema:
        """Return this schema with the named columns made nullable."""
        return InputSchema(
            tuple(replace(feature, nullable=feature.nullable or feature.name in names) for feature in self.features)
        )

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


def _tensor_columns(tensors: list[object]) -> tuple[Feature, ...]:
    shape: tuple[int, ...] = getattr(tensors[0], "shape", ())
    dtype = np.dtype(getattr(tensors[0], "type", "object"))
    kinds = {np.dtype(type_): kind for kind, type_ in NUMERIC.items()}
    if len(tensors) != 1 or len(shape) != 2 or shape[1] <= 0 or dtype not in kinds:
        raise RejectedError(
            "Rejected the model: a tensor signature must be one numeric tensor of shape (-1, columns). "
            "Log the model with such a signature."
        )
    return tuple(Feature(str(position), kinds[dtype]) for position in range(shape[1]))
