"""The types of the features and outputs of a model version, as the prediction log keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, TypedDict

import pyarrow as pa

FeatureKind: TypeAlias = Literal["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]
"""The type of a feature, as MLflow names it in a signature."""

OutputKind: TypeAlias = Literal["boolean", "long", "double", "string", "doubles"]
"""The type of a model's output; `doubles` is the output of a model with several targets."""

FEATURE = "feature_"
"""Prefix of a feature's column. With it, no feature can have the name of another column of the log."""
PROBABILITY = "probability_"
"""Prefix of the column with a class's probability; the class follows as text."""

TIME = pa.timestamp("us", tz="UTC")

TYPES: dict[FeatureKind | OutputKind, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": TIME,
    "doubles": pa.list_(pa.float64()),
}
"""The Arrow type of each kind of feature and output."""


class SchemaFields(TypedDict):
    """A `LogSchema` as JSON."""

    model: str
    version: int
    features: list[list[str]]
    output: OutputKind
    classes: list[str]


@dataclass(frozen=True)
class LogSchema:
    """The features, the output and the classes of one version of a model, as they are logged.

    Parameters
    ----------
    features
        Name and kind of each feature.
    classes
        Classes of a classifier that predicts probabilities, as text.

    Examples
    --------
    >>> schema = LogSchema("churn", 1, (("age", "double"),), "long", ("0", "1"))
    >>> LogSchema.from_json(schema.as_json()) == schema
    True
    """

    model: str
    version: int
    features: tuple[tuple[str, FeatureKind], ...]
    output: OutputKind
    classes: tuple[str, ...] = ()

    def as_json(self) -> SchemaFields:
        """Return the schema in the form that `from_json` reads."""
        return {
            "model": self.model,
            "version": self.version,
            "features": [list(feature) for feature in self.features],
            "output": self.output,
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the schema that `as_json` wrote."""
        return cls(
            model=fields["model"],
            version=fields["version"],
            features=tuple((name, kind) for name, kind in fields["features"]),
            output=fields["output"],
            classes=tuple(fields["classes"]),
        )

    def arrow(self) -> pa.Schema:
        """Return the columns of the Parquet files. Model and date are in the names of the directories."""
        return pa.schema(
            [
                pa.field("prediction_id", pa.string()),
                pa.field("time", TIME),
                pa.field("version", pa.int64()),
                pa.field("arm", pa.string()),
                pa.field("propensity", pa.float64()),
                *(pa.field(FEATURE + name, TYPES[kind]) for name, kind in self.features),
                pa.field("output", TYPES[self.output]),
                *(pa.field(PROBABILITY + name, pa.float64()) for name in self.classes),
                pa.field("latency_ms", pa.float64()),
                pa.field("rollout", pa.string()),
                pa.field("context", pa.string()),
                pa.field("shadow_of", pa.string()),
            ]
        )


FEEDBACK = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("time", TIME),
        pa.field("reward", pa.float64()),
    ]
)
"""The columns of the feedback. A label is kept as text, because it arrives without the name of its model."""


def column(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Return values of a JSON line as an Arrow array. NaN becomes null: that is how a missing number is written."""
    if pa.types.is_timestamp(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_binary(type_):
        return pa.array([None if value is None else value.encode("latin-1") for value in values], type_)
    return pa.array(values, type_, from_pandas=True)
