"""What a line of the prediction log holds: the types of one model version's features and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

FEATURE = "feature_"
"""What the column of a feature begins with, so that no feature can clash with a column of the log."""
PROBABILITY = "probability_"
"""What the column of a class's probability begins with; the class follows as text."""

TIME = pa.timestamp("us", tz="UTC")

TYPES: dict[str, pa.DataType] = {
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
"""The types of features and outputs by MLflow's names; `doubles` is the output of a model with several targets."""


@dataclass(frozen=True)
class LogSchema:
    """The features, the output and the classes of one version of a model, as they are logged."""

    model: str
    version: int
    features: tuple[tuple[str, str], ...]
    output: str
    classes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "model": self.model,
            "version": self.version,
            "features": [list(feature) for feature in self.features],
            "output": self.output,
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The schema that `as_json` wrote."""
        return cls(
            model=fields["model"],
            version=fields["version"],
            features=tuple((name, kind) for name, kind in fields["features"]),
            output=fields["output"],
            classes=tuple(fields["classes"]),
        )

    def arrow(self) -> pa.Schema:
        """The columns of the Parquet files. Model and date are in the names of the directories."""
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
"""The columns of the feedback. A label is kept as text, since it comes without the model that it belongs to."""


def column(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Values out of a JSON line as an Arrow array. NaN becomes null: it is how a missing number is written."""
    if pa.types.is_timestamp(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_binary(type_):
        return pa.array([None if value is None else value.encode("latin-1") for value in values], type_)
    return pa.array(values, type_, from_pandas=True)
