"""Run trials one after the other, each cross-validated fold by fold and shown in MLflow as a nested run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import pluralize, suggest
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, describe_error
from airflow_provider_mlops.lifecycle.scoring.metrics import Metric, Problem
from airflow_provider_mlops.lifecycle.train import fitting
from airflow_provider_mlops.lifecycle.tune.study import TRIAL_ERROR, fail_killed_trials, start_trial

if TYPE_CHECKING:
    import numpy
    import optuna

    from airflow_provider_mlops.lifecycle.train.rows import Rows
    from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)


def run_trials(
    spec: TuneSpec, workspace: Workspace, study: optuna.Study, run: Run, rows: Rows, problem: Problem, metric: Metric
) -> None:
    """Run trials until all workers together have started as many as the spec allows."""
    worker = workspace.task.key
    for number in fail_killed_trials(study, worker):
        run.end_child(f"trial {number}", "KILLED")
    validation = CrossValidation(spec, rows, split_rows(spec, rows, problem), problem, metric)
    log.info(
        "Searching %s for the best %s, %s in total",
        ", ".join(sorted(spec.search_space)),
        metric.name,
        pluralize(spec.trials, "trial"),
    )
    while (trial := start_trial(study, spec.trials, worker)) is not None:
        parameters = {**spec.parameters, **suggest_parameters(spec, study, trial)}
        _run_trial(study, trial, parameters, run, validation)


def suggest_parameters(spec: TuneSpec, study: optuna.Study, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Return the trial's values of the search space.

    Raises InvalidSpecError if the study was started with another space.
    """
    try:
        return {name: space.suggest(trial, name) for name, space in spec.search_space.items()}
    except ValueError as error:
        raise InvalidSpecError(
            "search_space",
            sorted(spec.search_space),
            f"the study {study.study_name} was started with another search space ({error}). Use another study_name",
        ) from error


def split_rows(spec: TuneSpec, rows: Rows, problem: Problem) -> list[tuple[Any, Any]]:
    """Return the positions of the rows to fit on and to measure on, for each fold.

    The same rows and seed give the same folds. Raises InvalidSpecError if there are fewer rows, or rows of a class,
    than folds.
    """
    import numpy
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    by = _fold_values(spec, rows)
    positions = numpy.arange(len(rows.target))
    try:
        if spec.fold_method == "time":
            if by is not None:
                positions = numpy.argsort(by, kind="stable")
            split = list(TimeSeriesSplit(spec.folds).split(positions))
        elif spec.fold_method == "group":
            split = list(GroupKFold(spec.folds).split(positions, groups=by))
        elif spec.fold_method == "random" or problem == "regression":
            split = list(KFold(spec.folds, shuffle=True, random_state=spec.seed).split(positions))
        else:
            _, counts = numpy.unique(rows.target.astype(str), return_counts=True)
            if counts.min() < spec.folds:
                raise ValueError(f"the smallest class has only {pluralize(int(counts.min()), 'row')}")
            split = list(
                StratifiedKFold(spec.folds, shuffle=True, random_state=spec.seed).split(positions, rows.target)
            )
    except ValueError as error:
        reason = str(error).rstrip(".")
        # Random folds need fewer rows only than stratified ones; groups and time must not be ignored.
        is_stratified = problem == "classification" and spec.fold_method in (None, "stratified")
        remedy = "Use fewer folds, or fold_method='random'" if is_stratified else "Use fewer folds"
        raise InvalidSpecError("folds", spec.folds, f"the rows cannot be split: {reason}. {remedy}") from error
    return [(positions[fitted], positions[measured]) for fitted, measured in split]


def _fold_values(spec: TuneSpec, rows: Rows) -> numpy.ndarray[Any, Any] | None:
    if spec.fold_column is None:
        return None
    columns = [str(name) for name in rows.features.columns]
    if spec.fold_column not in columns:
        raise InvalidSpecError(
            "fold_column", spec.fold_column, f"it must be one of the features. {suggest(spec.fold_column, columns)}"
        )
    return rows.features[spec.fold_column].to_numpy()


@dataclass(frozen=True)
class CrossValidation:
    """Cross-validation of parameters on fixed folds.

    Parameters
    ----------
    folds
        Positions of the rows to fit on and to measure on, for each fold.
    """

    spec: TuneSpec
    rows: Rows
    folds: list[tuple[Any, Any]]
    problem: Problem
    metric: Metric

    def means(self, parameters: Mapping[str, Any]) -> Iterator[float]:
        """Yield, after each fold, the mean of the metric over the folds so far."""
        total = 0.0
        for count, (fitted, measured) in enumerate(self.folds, start=1):
            model = fitting.fit(self.spec, self.rows.take(fitted), self.problem, parameters)
            metrics = fitting.measure(model, self.rows.take(measured), self.problem)
            if self.metric.name not in metrics:
                lacks_probability = self.metric.needs_probability and not hasattr(model, "predict_proba")
                cause = (
                    "this metric requires probabilities, but the estimator has no predict_proba method"
                    if lacks_probability
                    else f"the rows of fold {count} do not define this metric"
                )
                raise InvalidSpecError("metric", self.metric.name, f"{cause}. Use one of {', '.join(metrics)}")
            total += metrics[self.metric.name]
            yield total / count


def _run_trial(
    study: optuna.Study, trial: optuna.Trial, parameters: Mapping[str, Any], run: Run, validation: CrossValidation
) -> None:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    start = time.monotonic()
    label = f"Trial {trial.number + 1} of {validation.spec.trials}"
    child_name = f"trial {trial.number}"
    failed = False
    with run.child(child_name, child_name) as child:
        child.log_params({f"parameters.{key}": value for key, value in parameters.items()})
        try:
            for fold, value in enumerate(validation.means(parameters)):
                child.log_metrics({validation.metric.name: value}, step=fold)
                trial.report(value, fold)
                if fold + 1 < len(validation.folds) and trial.should_prune():
                    raise TrialPruned
        except TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            child.set_tags({"mlops.trial": "pruned"})
            log.info("%s was pruned after fold %d with %s %.5g", label, fold + 1, validation.metric.name, value)
        except (ValueError, ArithmeticError, MlopsError) as error:
            # One invalid combination of parameters is no reason to end the search.
            trial.set_user_attr(TRIAL_ERROR, describe_error(error))
            study.tell(trial, state=TrialState.FAIL)
            child.set_tags({"mlops.trial": "failed", "mlops.trial_error": str(error)})
            failed = True
            if isinstance(error, InvalidSpecError) and error.field == "metric":
                raise
            log.warning("%s failed: %s. Parameters: %s", label, str(error).rstrip("."), dict(parameters))
        else:
            study.tell(trial, value)
            child.set_tags({"mlops.trial": "complete"})
            seconds = time.monotonic() - start
            log.info(
                "%s completed in %.1f s: %s %.5g. Parameters: %s",
                label,
                seconds,
                validation.metric.name,
                value,
                dict(parameters),
            )
    if failed:
        run.end_child(child_name, "FAILED")
