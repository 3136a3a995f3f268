"""Step 4, tune: search for the best parameters with Optuna, then train and register a model with them.

With `phase="all"`, one task does everything. To spread the search over mapped tasks that share one study, use several
tasks with `phase="search"` and their own `worker`, then one with `phase="finish"`:

    search = TuneModelOperator.partial(task_id="search", phase="search", ...).expand(worker=[0, 1, 2])
    finish = TuneModelOperator(task_id="tune", phase="finish", ...)
    search >> finish
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric, Problem, main_metric
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.tune.spec import TuneResult, TuneSpec
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    import optuna

    from airflow_provider_mlops.lifecycle.train.rows import Rows
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)


def tune(spec: TuneSpec, workspace: Workspace) -> TuneResult:
    """Search for parameters, or train and register a model with the best ones, or do both, depending on `phase`.

    A retry continues the study where the earlier try was killed.

    Raises
    ------
    InvalidSpecError, BackendUnavailableError
        As the train step does, and if the study was started with another metric or search space.
    RejectedError
        As the train step does, and if no trial completed.
    """
    from airflow_provider_mlops.lifecycle.train.fitting import resolve_problem
    from airflow_provider_mlops.lifecycle.train.rows import read_rows
    from airflow_provider_mlops.lifecycle.tune.search import run_trials
    from airflow_provider_mlops.lifecycle.tune.study import (
        count_finished,
        has_completed_trial,
        is_search_over,
        open_study,
        study_run,
    )
    from airflow_provider_mlops.registry.models import check_name

    check_name(spec.model_name)
    problem = resolve_problem(spec, spec.dataset)
    metric = _choose_metric(spec, problem)
    _check_parameter_names(spec)
    rows = read_rows(spec.dataset, spec.target, problem)
    with study_run(spec, workspace) as run:
        study = open_study(spec, workspace, metric)
        if spec.phase != "finish":
            run_trials(spec, workspace, study, run, rows, problem, metric)
        run.stays_open = spec.phase == "search" and not is_search_over(study, spec.trials)
        if spec.phase == "search" and not has_completed_trial(study):
            return TuneResult(
                model=None,
                model_uri=None,
                metrics={},
                mlflow_run_id=run.id,
                best_parameters={},
                best_value=None,
                trials=count_finished(study),
            )
        return _finish(spec, workspace, study, run, rows, problem, metric)


def _finish(
    spec: TuneSpec, workspace: Workspace, study: optuna.Study, run: Run, rows: Rows, problem: Problem, metric: Metric
) -> TuneResult:
    """Return the best trial so far and, unless this task only searches, train and register a model with it."""
    from airflow_provider_mlops.lifecycle.train.record import train_and_register
    from airflow_provider_mlops.lifecycle.tune.search import suggest_parameters
    from airflow_provider_mlops.lifecycle.tune.study import best_trial, count_finished

    best = best_trial(study)
    trials = count_finished(study)
    parameters = suggest_parameters(spec, study, _fixed_trial(best.params))
    log.info("The best of %s has %s %.5g with %s", pluralize(trials, "trial"), metric.name, best.value, parameters)
    trained: dict[str, Any] = {"model": None, "model_uri": None, "metrics": {}}
    if spec.phase != "search":
        run.log_metrics({f"best_{metric.name}": float(best.value or 0.0), "trials": float(trials)})
        version, metrics = train_and_register(
            run, spec, workspace, rows, problem, {**spec.parameters, **parameters}, restart=False
        )
        trained = {"model": version, "model_uri": version.uri, "metrics": metrics}
    return TuneResult(**trained, mlflow_run_id=run.id, best_parameters=parameters, best_value=best.value, trials=trials)


def _choose_metric(spec: TuneSpec, problem: Problem) -> Metric:
    from airflow_provider_mlops.lifecycle.train.estimator import build_estimator

    if spec.metric is not None:
        metric = METRICS[spec.metric]
        if metric.problem != problem:
            names = [name for name, known in METRICS.items() if known.problem == problem]
            raise InvalidSpecError(
                "metric",
                spec.metric,
                f"it is a metric for {metric.problem}, but the problem is {problem}. Use one of {', '.join(names)}",
            )
        return metric
    available = set(METRICS)
    if spec.estimator is not None:
        estimator = build_estimator(spec.estimator, spec.parameters, spec.seed)
        if not hasattr(estimator, "predict_proba"):
            available = {name for name in available if not METRICS[name].needs_probability}
    return main_metric(problem, available)


def _check_parameter_names(spec: TuneSpec) -> None:
    """Raise InvalidSpecError, before any trial, if the estimator does not have a parameter of the search space."""
    from airflow_provider_mlops.lifecycle.train.estimator import build_estimator

    if spec.estimator is None:
        return
    sample = {
        name: space.values[0] if space.kind == "choice" else space.low for name, space in spec.search_space.items()
    }
    build_estimator(spec.estimator, {**spec.parameters, **sample}, spec.seed)


def _fixed_trial(parameters: dict[str, JsonValue]) -> optuna.trial.FixedTrial:
    import optuna

    return optuna.trial.FixedTrial(parameters)


STEP = Step("tune", TuneSpec, TuneResult, tune, extras=("tune",))
