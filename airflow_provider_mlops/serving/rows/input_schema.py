"""What a model takes: the features of its MLflow signature."""

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
"""The kinds of number under MLflow's names, and what NumPy calls them."""

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
"""What the Open Inference Protocol calls the kinds."""


@dataclass(frozen=True)
class Feature:
    """One column of the input.

    `optional`: a request may leave the column out. `nullable`: values in it may be missing.
    """

    name: str
    kind: FeatureKind
    optional: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class InputSchema:
    """The columns of the input, in the order of the signature."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, signature: ModelSignature | None) -> Self:
        """From an MLflow signature of scalar columns or of one two-dimensional tensor of numbers.

        The columns of a tensor are called "0", "1" and so on. Raises RejectedError for any other signature.
        """
        if signature is None or signature.inputs is None:
            raise RejectedError("the model has no signature: log it with one, so that requests can be checked")
        from mlflow.types import DataType

        inputs = signature.inputs
        if inputs.is_tensor_spec():
            return cls(_tensor_columns(inputs.inputs))
        features = []
        for position, column in enumerate(inputs.inputs):
            if not isinstance(column.type, DataType):
                raise RejectedError(
                    f"column {column.name!r} of the signature is {column.type}: only scalars are served"
                )
            optional = not column.required
            name = str(position) if column.name is None else str(column.name)
            kind = cast("FeatureKind", column.type.name)
            features.append(Feature(name, kind, optional=optional, nullable=optional))
        return cls(tuple(features))

    def with_nullable(self, names: set[str]) -> InputSchema:
        """The same schema in which values may be missing in the named columns too."""
        return InputSchema(
            tuple(replace(feature, nullable=feature.nullable or feature.name in names) for feature in self.features)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def name_list(self) -> list[str]:
        """The same as a list, as JSON brings it."""
        return list(self.names)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def numeric(self) -> bool:
        """Whether all columns hold numbers."""
        return all(feature.kind in NUMERIC for feature in self.features)

    @cached_property
    def double(self) -> bool:
        """Whether all columns hold numbers of 64 bits with a fraction, as most tables of measurements do."""
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
        raise RejectedError("only one tensor of numbers with the shape (-1, columns) is served: log another signature")
    return tuple(Feature(str(position), kinds[dtype]) for position in range(shape[1]))
