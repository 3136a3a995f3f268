"""Step 4 with a search before it: Optuna finds the parameters, and the best are trained and registered.

In one task with `phase="all"`. Or spread over mapped tasks that share one study: several with
`phase="search"` and their own `worker`, then one with `phase="finish"`:

    search = TuneModelOperator.partial(task_id="search", phase="search", ...).expand(worker=[0, 1, 2])
    finish = TuneModelOperator(task_id="tune", phase="finish", ...)
    search >> finish
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, JsonValue, model_validator

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric, Problem, main_metric, metric_named
from airflow_provider_mlops.lifecycle.step import Result, Step
from airflow_provider_mlops.lifecycle.train.step import TrainSpec
from airflow_provider_mlops.lifecycle.tune.space import Range
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)


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


def tune(spec: TuneSpec, workspace: Workspace) -> TuneResult:
    """Search, then train and register the best parameters; or one of both, by `phase`.

    A retry continues the study where the earlier try was killed. Raises what `train` raises, and RejectedError if no
    trial was completed.
    """
    from airflow_provider_mlops.lifecycle.train import fit
    from airflow_provider_mlops.lifecycle.train.record import train_and_register
    from airflow_provider_mlops.lifecycle.tune import search as tune_search
    from airflow_provider_mlops.lifecycle.tune import study as tune_study
    from airflow_provider_mlops.registry.models import check_name

    check_name(spec.model_name)
    problem = fit.problem_of(spec, spec.dataset)
    metric = _metric(spec, problem)
    _check_names(spec)
    rows = fit.read(spec.dataset, spec.target, problem)
    with tune_study.study_run(spec, workspace) as run:
        study = tune_study.open_study(spec, workspace, metric)
        if spec.phase != "finish":
            log.info("Searching %s by %s, %d trials in all", sorted(spec.search_space), metric.name, spec.trials)
            tune_search.search(spec, workspace, study, run, rows, problem, metric)
        ended = tune_study.finished(study)
        run.goes_on = spec.phase == "search" and not tune_study.is_over(study, spec.trials)
        if spec.phase == "search" and not tune_study.has_complete(study):
            return TuneResult(
                model=None,
                model_uri=None,
                metrics={},
                mlflow_run_id=run.id,
                best_parameters={},
                best_value=None,
                trials=ended,
            )
        best = tune_study.best(study)
        found = tune_search.suggested(spec, study, _as_fixed(best.params))
        log.info("Best of %d trials: %s %.5g with %s", ended, metric.name, best.value, found)
        version: ModelVersion | None = None
        metrics: dict[str, float] = {}
        if spec.phase != "search":
            run.log_metrics({f"best_{metric.name}": float(best.value or 0.0), "trials": float(ended)})
            version, metrics = train_and_register(
                run, spec, workspace, rows, problem, {**spec.parameters, **found}, restart=False
            )
        return TuneResult(
            model=version,
            model_uri=None if version is None else version.uri,
            metrics=metrics,
            mlflow_run_id=run.id,
            best_parameters=found,
            best_value=best.value,
            trials=ended,
        )


def _metric(spec: TuneSpec, problem: Problem) -> Metric:
    if spec.metric is not None:
        metric = metric_named(spec.metric)
        if metric.problem != problem:
            names = [name for name, other in METRICS.items() if other.problem == problem]
            raise InvalidSpecError("metric", spec.metric, f"it is for {metric.problem}; use one of {', '.join(names)}")
        return metric
    from airflow_provider_mlops.lifecycle.train import estimator as train_estimator

    available = set(METRICS)
    if spec.estimator is not None:
        estimator = train_estimator.from_import_path(spec.estimator, spec.parameters, spec.seed)
        if not hasattr(estimator, "predict_proba"):
            available = {name for name in available if not METRICS[name].needs_probability}
    return main_metric(problem, available)


def _check_names(spec: TuneSpec) -> None:
    """Raise InvalidSpecError, before any trial, if the estimator does not know a name in the search space."""
    if spec.estimator is None:
        return
    from airflow_provider_mlops.lifecycle.train import estimator as train_estimator

    some = {name: space.values[0] if space.kind == "choice" else space.low for name, space in spec.search_space.items()}
    train_estimator.from_import_path(spec.estimator, {**spec.parameters, **some}, spec.seed)


def _as_fixed(parameters: dict[str, JsonValue]) -> optuna.trial.FixedTrial:
    import optuna

    return optuna.trial.FixedTrial(parameters)


STEP = Step("tune", TuneSpec, TuneResult, tune)
