"""The fields of the step `evaluate` and what it returns."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.registry.model_version import ModelVersion


class EvaluateSpec(Spec):
    """What to evaluate, and on which rows."""

    model: ModelVersion = Field(description="The version to evaluate, e.g. `train.output['model']`.")
    dataset: Dataset = Field(description="The test rows, which the model has not seen in training.")
    target: str = Field(description="The column that the model predicts.")
    problem: Problem | None = Field(
        default=None,
        description="`classification` or `regression`. By default what the version was trained for.",
    )
    slices: tuple[str, ...] = Field(
        default=(),
        description="Columns by whose values the metrics are computed too. Numbers and times with more than ten "
        "distinct values are cut at their quartiles; of other columns the 20 most frequent values are slices.",
    )
    sensitive: tuple[str, ...] = Field(
        default=(),
        description="Columns whose groups the model should not treat differently, such as sex or age: fairness is "
        "measured by each. Grouped as slices are.",
    )
    positive_class: str | None = Field(
        default=None, description="Of two classes, the one to find. By default the second one in sorted order."
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="The confidence of all intervals.")
    resamples: int = Field(
        default=1000, ge=100, le=100_000, description="How many bootstrap resamples the intervals come from."
    )
    seed: int = Field(default=0, ge=0, description="The seed of the resamples.")
    training_dataset: Dataset | None = Field(
        default=None,
        description="Where the trivial baseline learns the distribution of the target. By default from the data that "
        "the version's run names as its training data, else from the version's profile; never from the test rows.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Whether a model saved with pickle may be loaded, which runs code that it brings along.",
    )
    experiment: str | None = Field(default=None, description="The MLflow experiment. By default the DAG's name.")


class EvaluateResult(Result):
    """How well the model does. Numbers by slice and group are in the evaluation file."""

    model: ModelVersion = Field(description="The version that was evaluated.")
    metrics: dict[str, float] = Field(description="Every metric on all rows.")
    intervals: dict[str, tuple[float, float]] = Field(description="The confidence interval of each metric.")
    baseline: dict[str, float] = Field(description="The metrics of the trivial baseline on the same rows.")
    champion: dict[str, float] | None = Field(
        description="The metrics of the champion on the same rows; null if there is none, or none to compare with."
    )
    champion_version: int | None = Field(description="The champion at the time; null if there was none.")
    evaluation_uri: str = Field(description="The evaluation file, which `validate` reads.")
    report_uri: str = Field(description="The HTML report.")
    mlflow_run_id: str = Field(description="The MLflow run that holds the metrics.")
