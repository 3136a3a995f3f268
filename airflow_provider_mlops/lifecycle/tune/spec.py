"""The fields of the step `tune` and what it returns."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, metric_named
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
from airflow_provider_mlops.lifecycle.tune.space import Range
from airflow_provider_mlops.registry.model_version import ModelVersion


class TuneSpec(TrainSpec):
    """What to train, and in which space to search its parameters."""

    search_space: dict[str, Range] = Field(
        min_length=1,
        description="For each parameter to search a `FloatRange`, an `IntegerRange` or a `Choice`. In JSON "
        '`{"kind": "float", "low": 0.01, "high": 10, "log": true}`, `{"kind": "integer", "low": 2, "high": 8}` or '
        '`{"kind": "choice", "values": ["l1", "l2"]}`. What is searched goes over `parameters`.',
    )
    trials: int = Field(
        default=20, ge=1, le=10_000, description="How many combinations are tried, by all workers together."
    )
    metric: str | None = Field(
        default=None,
        description="What to improve: a metric of the step `evaluate`, measured by cross-validation on `dataset`. By "
        "default the area under the ROC curve for classification (balanced accuracy where the estimator gives no "
        "probabilities) and R² for regression.",
    )
    phase: Literal["all", "search", "finish"] = Field(
        default="all",
        description="`search` only tries parameters, `finish` only trains and registers the best, `all` does both.",
    )
    worker: int = Field(
        default=0,
        ge=0,
        description="The number of this search task among those that share the study. It varies the seed.",
    )
    study_name: str | None = Field(
        default=None,
        description="The study's name. By default it is made of the DAG, its run and the model. With a name of your "
        "own, later DAG runs continue the study, and `trials` counts all of them.",
    )
    pruner: Literal["median", "halving", "none"] = Field(
        default="median",
        description="What ends a trial before its last fold: being worse than the median of the others (`median`), "
        "than the better ones at growing numbers of folds (`halving`), or nothing.",
    )
    folds: int = Field(default=5, ge=2, le=50, description="Into how many parts the rows are cut for cross-validation.")
    fold_method: Literal["stratified", "random", "group", "time"] | None = Field(
        default=None,
        description="How rows come to folds: `stratified` by class, at `random`, all rows of one value of "
        "`fold_column` together (`group`), or always later rows after earlier ones in the order of `fold_column` or of "
        "the dataset (`time`). By default stratified for classification and random for regression.",
    )
    fold_column: str | None = Field(
        default=None, description="The feature that `fold_method` `group` and `time` go by."
    )

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.fold_method == "group" and self.fold_column is None:
            raise InvalidSpecError("fold_column", None, "name the column whose values must stay together in a fold")
        if self.metric is not None:
            metric = metric_named(self.metric)
            if metric.greater_is_better is None:
                better = [name for name, other in METRICS.items() if other.greater_is_better is not None]
                raise InvalidSpecError("metric", self.metric, f"neither way is better; use one of {', '.join(better)}")
        return self


class TuneResult(Result):
    """The registered version, unless this was a search only, and what the search found."""

    model: ModelVersion | None = Field(description="The registered version; null after `search`.")
    model_uri: str | None = Field(description="The version as MLflow writes it, `models:/name/version`.")
    metrics: dict[str, float] = Field(
        description="How well the registered version predicts, as the step `train` says it."
    )
    mlflow_run_id: str = Field(description="The MLflow run of the study. The trials are nested in it.")
    best_parameters: dict[str, JsonValue] = Field(description="The best values of the search space so far.")
    best_value: float | None = Field(description="The metric of the best trial, the mean over its folds.")
    trials: int = Field(description="How many trials of the study have ended.")
