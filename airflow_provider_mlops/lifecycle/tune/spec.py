"""The fields and the result of the tune step."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, metric_named
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
from airflow_provider_mlops.lifecycle.tune.space import Range
from airflow_provider_mlops.registry.model_version import ModelVersion


class TuneSpec(TrainSpec):
    """The training data, the estimator, and the search space of its parameters."""

    search_space: dict[str, Range] = Field(
        min_length=1,
        description="Parameters to search, each with a `FloatRange`, an `IntegerRange` or a `Choice`. As JSON: "
        '`{"kind": "float", "low": 0.01, "high": 10, "log": true}`, `{"kind": "integer", "low": 2, "high": 8}` or '
        '`{"kind": "choice", "values": ["l1", "l2"]}`. They override the fixed values in `parameters`.',
    )
    trials: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Total number of trials, over all tasks that share the study. Defaults to 20.",
    )
    metric: str | None = Field(
        default=None,
        description="Metric of the evaluate step to optimize, measured by cross-validation on `dataset`. Defaults to "
        "`roc_auc` for classification (`balanced_accuracy` if the estimator gives no probabilities) and `r2` for "
        "regression.",
    )
    phase: Literal["all", "search", "finish"] = Field(
        default="all",
        description="Part of the work: `search` only runs trials, `finish` only trains and registers the best model, "
        "and `all` does both. Defaults to `all`.",
    )
    worker: int = Field(
        default=0,
        ge=0,
        description="Number that identifies this task among the search tasks of the study: 0, 1, 2 and so on. Each "
        "number leads to different random suggestions.",
    )
    study_name: str | None = Field(
        default=None,
        description="Name of the study. By default, each DAG run has its own study for each model. If you set a name, "
        "later DAG runs continue the study, and `trials` counts the trials of all runs.",
    )
    pruner: Literal["median", "halving", "none"] = Field(
        default="median",
        description="Rule that stops a trial before its last fold. `median`: if it is worse than the median of the "
        "other trials at the same fold; `halving`: by successive halving; `none`: never. Defaults to `median`.",
    )
    folds: int = Field(default=5, ge=2, le=50, description="Number of folds of the cross-validation. Defaults to 5.")
    fold_method: Literal["stratified", "random", "group", "time"] | None = Field(
        default=None,
        description="How rows are assigned to folds. `stratified`: each fold has the same share of each class; "
        "`random`: the rows are shuffled; `group`: rows with the same value of `fold_column` stay together; `time`: "
        "each model is measured on later rows than those it is trained on, in the order of `fold_column`, or of the "
        "dataset if `fold_column` is not set. Defaults to `stratified` for classification and `random` for regression.",
    )
    fold_column: str | None = Field(
        default=None,
        description="Feature that defines the groups (`fold_method='group'`) or the order of the rows "
        "(`fold_method='time'`).",
    )

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.fold_method == "group" and self.fold_column is None:
            raise FieldError("fold_column", "fold_method='group' requires the column whose values define the groups")
        if self.metric is not None:
            metric = metric_named(self.metric)
            if metric.greater_is_better is None:
                ranked = [name for name, known in METRICS.items() if known.greater_is_better is not None]
                raise FieldError(
                    "metric",
                    "it cannot be optimized, because neither higher nor lower values are always better. Use one of "
                    f"{', '.join(ranked)}",
                )
        return self


class TuneResult(Result):
    """The best parameters, and the registered version unless the task only searched."""

    model: ModelVersion | None = Field(description="Registered version; null for `phase='search'`.")
    model_uri: str | None = Field(
        description="MLflow URI of the version, `models:/name/version`; null for `phase='search'`."
    )
    metrics: dict[str, float] = Field(
        description="Metrics of the registered version, as in the train step; empty for `phase='search'`."
    )
    mlflow_run_id: str = Field(description="ID of the study's MLflow run. The trials are nested in it.")
    best_parameters: dict[str, JsonValue] = Field(
        description="Values of the searched parameters in the best trial so far."
    )
    best_value: float | None = Field(
        description="Metric of the best trial, the mean over its folds; null if no trial completed."
    )
    trials: int = Field(description="Number of trials in the study that have ended.")
