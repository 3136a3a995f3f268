"""Step 4 with a search before it: Optuna finds the parameters, and the best are trained and registered.

In one task with `phase="all"`. Or spread over mapped tasks that share one study: several with
`phase="search"` and their own `worker`, then one with `phase="finish"`:

    search = TuneModelOperator.partial(task_id="search", phase="search", ...).expand(worker=[0, 1, 2])
    finish = TuneModelOperator(task_id="tune", phase="finish", ...)
    search >> finish
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import JsonValue

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric, Problem, main_metric, metric_named
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.tune.spec import TuneResult, TuneSpec
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)


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
        run.stays_open = spec.phase == "search" and not tune_study.is_over(study, spec.trials)
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


STEP = Step("tune", TuneSpec, TuneResult, tune, extras=("tune",))
