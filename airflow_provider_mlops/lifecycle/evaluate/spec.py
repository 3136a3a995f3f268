"""The fields and the result of the evaluate step."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.registry.model_version import ModelVersion


class EvaluateSpec(Spec):
    """The model to evaluate, the test rows, and the slices and groups to look into."""

    model: ModelVersion = Field(description="Version to evaluate, for example `train.output['model']`.")
    dataset: Dataset = Field(description="Test rows, which were not used in training.")
    target: str = Field(description="Column that the model predicts.")
    problem: Problem | None = Field(
        default=None,
        description="Problem type, `classification` or `regression`. Defaults to the problem that the version was "
        "trained for.",
    )
    slices: tuple[str, ...] = Field(
        default=(),
        description="Columns whose values define slices. The metrics are also computed for each slice. A column of "
        "numbers or times with more than 10 distinct values is divided at its quartiles. In any other column, each of "
        "the 20 most frequent values is a slice, and all other values form one more slice.",
    )
    sensitive: tuple[str, ...] = Field(
        default=(),
        description="Columns whose groups the model should treat alike, for example sex or age. Fairness is measured "
        "for each column. The groups are formed in the same way as slices.",
    )
    positive_class: str | None = Field(
        default=None,
        description="Positive class, if there are two classes. Defaults to the second class in sorted order.",
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="Confidence level of all intervals. Defaults to 0.95."
    )
    resamples: int = Field(
        default=1000,
        ge=100,
        le=100_000,
        description="Number of bootstrap resamples that the intervals are computed from. Defaults to 1000.",
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the resamples. Defaults to 0.")
    training_dataset: Dataset | None = Field(
        default=None,
        description="Rows from which the trivial baseline learns the distribution of the target. By default, the "
        "training dataset recorded in the version's MLflow run is used. If that is unavailable, the version's profile "
        "is used, which may include the test rows.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Load models that were saved with pickle. Loading such a model runs code from its file. Defaults "
        "to false.",
    )
    experiment: str | None = Field(default=None, description="MLflow experiment of the run. Defaults to the DAG's ID.")


class EvaluateResult(Result):
    """The metrics on all test rows. The evaluation file has the numbers by slice and group."""

    model: ModelVersion = Field(description="Version that was evaluated.")
    metrics: dict[str, float] = Field(description="Metrics on all test rows.")
    intervals: dict[str, tuple[float, float]] = Field(description="Confidence interval of each metric.")
    baseline: dict[str, float] = Field(description="Metrics of the trivial baseline on the same rows.")
    champion: dict[str, float] | None = Field(
        description="Metrics of the champion on the same rows; null if there is no champion or it cannot be compared."
    )
    champion_version: int | None = Field(
        description="Version that was champion during the evaluation; null if there was none."
    )
    evaluation_uri: str = Field(description="URI of the evaluation file, which the validate step reads.")
    report_uri: str = Field(description="URI of the HTML report.")
    mlflow_run_id: str = Field(description="ID of the MLflow run with the metrics.")
