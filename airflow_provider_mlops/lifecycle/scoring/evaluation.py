"""The evaluation file: everything that is known of how a model does on test rows, as one JSON file.

`evaluate` writes it and `validate` reads it. It holds numbers by metric, slice and group; what the model,
the champion and the baseline said of each row lies beside it as Parquet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem
from airflow_provider_mlops.registry.model_version import ModelVersion

Interval: TypeAlias = tuple[float, float]
Answers: TypeAlias = tuple[bool | int | float | str, ...]


class Part(BaseModel):
    """A part of an evaluation file. Unknown fields are ignored, so that an older release reads a newer file."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Baseline(Part):
    """What somebody who knows only the target's training distribution would say of every row."""

    metrics: dict[str, float]
    strategy: str = Field(description="What it predicts: `majority class and class shares`, or `mean`.")
    fitted_on: str = Field(description="Where the distribution comes from, in words.")


class Champion(Part):
    """The model that serves now, on the same rows."""

    version: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)


class SliceScore(Part):
    """The metrics on the rows of one slice."""

    column: str
    value: str = Field(description="The value of the column, or the bin of a numeric one.")
    rows: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    champion: dict[str, float] | None = None


class FairnessScore(Part):
    """How differently the model treats the groups of one sensitive column."""

    column: str
    metrics: dict[str, float] = Field(description="Differences and ratios over the groups, by name.")
    intervals: dict[str, Interval] = Field(
        default_factory=dict,
        description="Their confidence intervals. Groups that are treated alike still differ by chance, so that the "
        "interval of a difference seldom reaches 0, nor that of a ratio 1.",
    )
    groups: dict[str, dict[str, float]] = Field(description="By group: rows, selection rate, error rates.")


class CalibrationBin(Part):
    """The rows whose predicted probability fell into one bin."""

    lower: float
    upper: float
    rows: int
    predicted: float = Field(description="The mean predicted probability.")
    observed: float = Field(description="The share of rows for which it came true.")
    interval: Interval = Field(description="The confidence interval of that share.")


class Example(Part):
    """What the model answered here, and must answer in a fresh process as well."""

    rows_uri: str = Field(description="A Parquet file of the first test rows, in the columns that the model takes.")
    predictions: Answers = Field(description="What the model predicts for them.")
    input_example_predictions: Answers | None = Field(
        default=None, description="What it predicts for the input example that is saved with it; None without one."
    )


class Evaluation(Part):
    """Everything that `evaluate` found."""

    format: Literal[1] = 1
    model: ModelVersion
    problem: Problem
    target: str
    dataset_uri: str
    dataset_name: str
    dataset_fingerprint: str
    rows: int
    classes: tuple[str, ...] = Field(
        default=(), description="Class names by code. Of two classes, the second is the positive one."
    )
    main_metric: str
    confidence: float
    resamples: int
    seed: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baseline: Baseline
    champion_version: int | None = Field(
        default=None, description="The version that was champion, even if it could not be compared."
    )
    champion: Champion | None = None
    champion_note: str = Field(description="Which champion it is compared with, or why it is not, in one sentence.")
    slices: tuple[SliceScore, ...] = ()
    fairness: tuple[FairnessScore, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    predictions_uri: str
    prediction_profile_uri: str
    example: Example
    created_at: datetime

    @classmethod
    def read(cls, uri: str, field: str = "evaluation_uri") -> Self:
        """The evaluation at `uri`. Raises InvalidSpecError that names `field` if there is none."""
        try:
            text = storage.read_text(uri)
        except (FileNotFoundError, IsADirectoryError):
            raise InvalidSpecError(
                field, uri, "no evaluation lies there: run evaluate first, and take its evaluation_uri"
            ) from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InvalidSpecError(
                field, uri, f"this is not an evaluation ({where}: {first['msg']}): take the evaluation_uri of evaluate"
            ) from error

    def write(self, uri: str) -> None:
        """Write it as JSON."""
        storage.write_text(uri, self.model_dump_json(indent=1))
