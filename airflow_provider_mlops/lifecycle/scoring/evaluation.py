"""The evaluation file: the results of an evaluation as one JSON file.

The evaluate step writes it; the validate and monitor steps read it. It has numbers by metric, slice and group. The
predictions of the model, the champion and the baseline for each row are in a Parquet file in the same directory.
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
PredictedValues: TypeAlias = tuple[bool | int | float | str, ...]


class Part(BaseModel):
    """A part of an evaluation file. Unknown fields are ignored, so that an older release reads a newer file."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Baseline(Part):
    """A trivial model that knows only the distribution of the target in training."""

    metrics: dict[str, float]
    strategy: str = Field(
        description="Prediction of the baseline, as text: `the mean`, or `the majority class, with the class shares "
        "as probabilities`."
    )
    fitted_on: str = Field(description="Data from which the baseline was computed, in words.")


class Champion(Part):
    """The model that is champion at the time, measured on the same rows."""

    version: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)


class SliceScore(Part):
    """The metrics on the rows of one slice."""

    column: str
    value: str = Field(description="Value of the column, or bin of a numeric column.")
    rows: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    champion: dict[str, float] | None = None


class FairnessScore(Part):
    """Differences in how the model treats the groups of one sensitive column."""

    column: str
    metrics: dict[str, float] = Field(description="Fairness measures by name: differences and ratios between groups.")
    intervals: dict[str, Interval] = Field(
        default_factory=dict,
        description="Confidence intervals of the measures. Even groups that are treated alike differ by chance, so the "
        "interval of a difference rarely includes 0, and the interval of a ratio rarely includes 1.",
    )
    groups: dict[str, dict[str, float]] = Field(
        description="Number of rows, selection rate and error rates of each group."
    )


class CalibrationBin(Part):
    """The rows whose predicted probability is in one bin."""

    lower: float
    upper: float
    rows: int
    predicted: float = Field(description="Mean predicted probability of the rows in the bin.")
    observed: float = Field(
        description="Share of the rows in the bin whose true class is the positive class. With more than two classes: "
        "share of the rows whose true class is the one that the model found most probable."
    )
    interval: Interval = Field(description="Confidence interval of `observed`.")


class Example(Part):
    """Predictions that the model must repeat in a fresh process."""

    rows_uri: str = Field(description="Parquet file with the first test rows and the columns that the model takes.")
    predictions: PredictedValues = Field(description="Predictions for the example rows.")
    input_example_predictions: PredictedValues | None = Field(
        default=None, description="Predictions for the input example that is saved with the model; null if it has none."
    )


class Evaluation(Part):
    """All results of one evaluation."""

    format: Literal[1] = 1
    model: ModelVersion
    problem: Problem
    target: str
    dataset_uri: str
    dataset_name: str
    dataset_fingerprint: str
    rows: int
    classes: tuple[str, ...] = Field(
        default=(),
        description="Class names: first those of the model, then any others that the test rows or the champion have. "
        "If there are exactly two, the second is the positive class.",
    )
    main_metric: str
    confidence: float
    resamples: int
    seed: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baseline: Baseline
    champion_version: int | None = Field(
        default=None, description="Version that was champion, even if it could not be compared."
    )
    champion: Champion | None = None
    champion_note: str = Field(
        description="Sentence that names the champion in the comparison, or says why there is none."
    )
    slices: tuple[SliceScore, ...] = ()
    fairness: tuple[FairnessScore, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    predictions_uri: str
    prediction_profile_uri: str
    example: Example
    created_at: datetime

    @classmethod
    def read(cls, uri: str, field: str = "evaluation_uri") -> Self:
        """Read the evaluation at `uri`. Raises InvalidSpecError for `field` if there is none."""
        try:
            text = storage.read_text(uri)
        except (FileNotFoundError, IsADirectoryError):
            raise InvalidSpecError(
                field, uri, "there is no file at this URI. Run the evaluate step first, and use its evaluation_uri"
            ) from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InvalidSpecError(
                field,
                uri,
                f"the file is not an evaluation ({where}: {first['msg']}). Use the evaluation_uri of the evaluate step",
            ) from error

    def write(self, uri: str) -> None:
        """Write the evaluation to `uri` as JSON."""
        storage.write_text(uri, self.model_dump_json(indent=1))
