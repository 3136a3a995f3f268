"""The search: one trial after the other, each cross-validated fold by fold and seen in MLflow as a nested run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError, MlopsError
from airflow_provider_mlops.lifecycle.scoring.metrics import Metric, Problem
from airflow_provider_mlops.lifecycle.train import fit
from airflow_provider_mlops.lifecycle.tune import study as tune_study

if TYPE_CHECKING:
    import numpy
    import optuna

    from airflow_provider_mlops.lifecycle.train.fit import Rows
    from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)


def search(
    spec: TuneSpec, workspace: Workspace, study: optuna.Study, run: Run, rows: Rows, problem: Problem, metric: Metric
) -> None:
    """Try parameters until all workers together have begun as many trials as the spec allows."""
    worker = workspace.task.key
    for number in tune_study.give_up_killed(study, worker):
        run.end_child(f"trial {number}", "KILLED")
    splits = folds(spec, rows, problem)
    while (trial := tune_study.ask(study, spec.trials, worker)) is not None:
        parameters = {**spec.parameters, **suggested(spec, study, trial)}
        _try(spec, study, trial, parameters, run, rows, splits, problem, metric)


def suggested(spec: TuneSpec, study: optuna.Study, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """A trial's values of the search space. Raises InvalidSpecError if the study was begun with another space."""
    try:
        return {name: space.suggest(trial, name) for name, space in spec.search_space.items()}
    except ValueError as error:
        raise InvalidSpecError(
            "search_space",
            sorted(spec.search_space),
            f"the study {study.study_name} was begun with another space ({error}): give another study_name",
        ) from error


def folds(spec: TuneSpec, rows: Rows, problem: Problem) -> list[tuple[Any, Any]]:
    """The positions of the rows to fit on and to measure on, per fold; the same for the same rows and seed.

    Raises InvalidSpecError if there are fewer rows, or rows of a class, than folds.
    """
    import numpy
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

    by: numpy.ndarray[Any, Any] | None = None
    positions = numpy.arange(len(rows.target))
    if spec.fold_column is not None:
        if spec.fold_column not in rows.features.columns:
            raise InvalidSpecError(
                "fold_column",
                spec.fold_column,
                f"name one of the features: {', '.join(map(str, rows.features.columns[:50]))}",
            )
        by = rows.features[spec.fold_column].to_numpy()
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
                raise ValueError(f"a class has only {counts.min()} rows")
            split = list(
                StratifiedKFold(spec.folds, shuffle=True, random_state=spec.seed).split(positions, rows.target)
            )
    except ValueError as error:
        raise InvalidSpecError("folds", spec.folds, f"{error}: use fewer folds, or fold_method='random'") from error
    return [(positions[fitted], positions[measured]) for fitted, measured in split]


def _try(
    spec: TuneSpec,
    study: optuna.Study,
    trial: optuna.Trial,
    parameters: Mapping[str, Any],
    run: Run,
    rows: Rows,
    splits: list[tuple[Any, Any]],
    problem: Problem,
    metric: Metric,
) -> None:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    start = time.monotonic()
    name = f"trial {trial.number}"
    failed = False
    with run.child(name, name) as child:
        child.log_params({f"parameters.{key}": value for key, value in parameters.items()})
        try:
            for fold, value in enumerate(_values(spec, parameters, rows, splits, problem, metric)):
                child.log_metrics({metric.name: value}, step=fold)
                trial.report(value, fold)
                if fold + 1 < len(splits) and trial.should_prune():
                    raise TrialPruned
        except TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            child.set_tags({"mlops.trial": "pruned"})
            log.info("Trial %d of %d: pruned after %d folds at %.5g", trial.number + 1, spec.trials, fold + 1, value)
        except (ValueError, ArithmeticError, MlopsError) as error:
            # One combination of parameters that cannot be is no reason to end the search.
            trial.set_user_attr(tune_study.ERROR, f"{type(error).__name__}: {error}"[:1000])
            study.tell(trial, state=TrialState.FAIL)
            child.set_tags({"mlops.trial": "failed", "mlops.trial_error": str(error)})
            failed = True
            if isinstance(error, InvalidSpecError) and error.field == "metric":
                raise
            log.warning("Trial %d of %d failed with %s: %s", trial.number + 1, spec.trials, dict(parameters), error)
        else:
            study.tell(trial, value)
            child.set_tags({"mlops.trial": "complete"})
            log.info(
                "Trial %d of %d: %s %.5g in %.1f s with %s",
                trial.number + 1,
                spec.trials,
                metric.name,
                value,
                time.monotonic() - start,
                dict(parameters),
            )
    if failed:
        run.end_child(name, "FAILED")


def _values(
    spec: TuneSpec,
    parameters: Mapping[str, Any],
    rows: Rows,
    splits: list[tuple[Any, Any]],
    problem: Problem,
    metric: Metric,
) -> Iterator[float]:
    """The mean of the metric over the folds so far, after each fold."""
    total = 0.0
    for done, (fitted, measured) in enumerate(splits, start=1):
        model = fit.fit(spec, rows.take(fitted), problem, parameters)
        scores = fit.scores(model, rows.take(measured), problem)
        if metric.name not in scores:
            raise InvalidSpecError(
                "metric", metric.name, f"the estimator or the rows do not give it; use one of {', '.join(scores)}"
            )
        total += scores[metric.name]
        yield total / done
