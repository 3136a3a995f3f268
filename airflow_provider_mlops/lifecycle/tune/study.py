"""A study that several tasks share: how trials are started and counted, and its MLflow run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.registry.run import attached_run, begin_run

if TYPE_CHECKING:
    import optuna

    from airflow_provider_mlops.lifecycle.scoring.metrics import Metric
    from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)

_WORKER = "worker"
"""User attribute of a trial: the task that runs it."""

TRIAL_ERROR = "error"
"""User attribute of a trial that failed by itself. Such a trial counts, unlike one whose task was killed."""


def study_name(spec: TuneSpec, workspace: Workspace) -> str:
    """Return the study's name: the spec's, or else the same for all tasks of a DAG run that tune one model."""
    return spec.study_name or "/".join((workspace.task.dag_id, workspace.task.run_id, spec.model_name))


def study_directory(name: str, workspace: Workspace) -> str:
    """Return the URI of the directory that holds the study."""
    return storage.join(workspace.storage_uri, "studies", quote(name, safe=" "))


def open_study(spec: TuneSpec, workspace: Workspace, metric: Metric) -> optuna.Study:
    """Open the study, and create it if it does not exist. Raises InvalidSpecError if it has another metric."""
    import optuna

    from airflow_provider_mlops.lifecycle.tune.journal import StorageJournal

    name = study_name(spec, workspace)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = StorageJournal(storage.join(study_directory(name, workspace), "journal"))
    journal_storage = optuna.storages.JournalStorage(cast("Any", journal))
    direction: Literal["maximize", "minimize"] = "maximize" if metric.greater_is_better else "minimize"
    study = optuna.create_study(
        storage=journal_storage, study_name=name, direction=direction, load_if_exists=True, pruner=_pruner(spec)
    )
    # A retry must not repeat the suggestions of the first try, so the number of trials is part of the seed.
    study.sampler = _sampler(spec.seed + 1000 * spec.worker + 1_000_003 * len(study.get_trials(deepcopy=False)))
    existing = study.user_attrs.get("metric")
    if existing is None:
        study.set_user_attr("metric", metric.name)
    elif existing != metric.name:
        raise InvalidSpecError(
            "metric",
            metric.name,
            f"the study {name} was started with the metric {existing}. Use that metric, or another study_name",
        )
    return study


def start_trial(study: optuna.Study, limit: int, worker: str) -> optuna.Trial | None:
    """Start a trial, or return None if all workers together have already started `limit` trials."""
    if len(_counted_trials(study)) >= limit:
        return None
    trial = study.ask()
    trial.set_user_attr(_WORKER, worker)
    # Another worker may have started one at the same moment. The numbers of the trials decide which are in the limit.
    if sum(number < trial.number for number in _counted_trials(study)) >= limit:
        study.tell(trial, state=_trial_state().FAIL)
        return None
    return trial


def fail_killed_trials(study: optuna.Study, worker: str) -> list[int]:
    """Mark the trials that an earlier try of this task left running as failed, and return their numbers."""
    numbers = [
        trial.number
        for trial in study.get_trials(deepcopy=False, states=(_trial_state().RUNNING,))
        if trial.user_attrs.get(_WORKER) == worker
    ]
    for number in numbers:
        study.tell(number, state=_trial_state().FAIL)
    if numbers:
        log.info(
            "Discarded %s that an earlier try of this task did not finish; as many new ones will run",
            pluralize(len(numbers), "trial"),
        )
    return numbers


def count_finished(study: optuna.Study) -> int:
    """Return the number of trials that ended: complete, pruned, or failed with an error."""
    return sum(
        trial.state in (_trial_state().COMPLETE, _trial_state().PRUNED) or TRIAL_ERROR in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )


def is_search_over(study: optuna.Study, limit: int) -> bool:
    """Return whether `limit` trials ended and none is running. With several workers, only the last one gets True."""
    return count_finished(study) >= limit and not study.get_trials(deepcopy=False, states=(_trial_state().RUNNING,))


def has_completed_trial(study: optuna.Study) -> bool:
    """Return whether any trial completed all its folds."""
    return bool(study.get_trials(deepcopy=False, states=(_trial_state().COMPLETE,)))


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """Return the best completed trial. Raises RejectedError, with the first error, if there is none."""
    if has_completed_trial(study):
        return study.best_trial
    errors = [
        trial.user_attrs[TRIAL_ERROR] for trial in study.get_trials(deepcopy=False) if TRIAL_ERROR in trial.user_attrs
    ]
    if errors:
        raise RejectedError(
            f"Rejected study {study.study_name}: every trial failed ({len(errors)} in total). The first error: "
            f"{errors[0]}"
        )
    raise RejectedError(
        f"Rejected study {study.study_name}: it has no completed trials, but at least 1 is required. Run "
        "tasks with phase='search' and the same study_name first."
    )


@contextmanager
def study_run(spec: TuneSpec, workspace: Workspace) -> Iterator[Run]:
    """Open the MLflow run that all trials of the study are nested in, and create it if this worker is the first."""
    from airflow_provider_mlops.registry import tags as tag

    registry = workspace.registry()
    name = study_name(spec, workspace)
    claim = storage.join(study_directory(name, workspace), "run.txt")
    if not storage.exists(claim):
        begun = begin_run(registry, workspace.task, "tune", experiment=spec.experiment, tags={tag.STUDY: name})
        try:
            storage.create(claim, begun.id.encode())
        except FileExistsError:
            registry.client.delete_run(begun.id)
    with attached_run(registry, storage.read_text(claim)) as run:
        yield run


def _counted_trials(study: optuna.Study) -> list[int]:
    failed = _trial_state().FAIL
    return [
        trial.number
        for trial in study.get_trials(deepcopy=False)
        if trial.state != failed or TRIAL_ERROR in trial.user_attrs
    ]


def _trial_state() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    with warnings.catch_warnings():
        # constant_liar, which keeps parallel workers from trying the same values, was experimental before Optuna 5.
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)


def _pruner(spec: TuneSpec) -> optuna.pruners.BasePruner:
    import optuna

    if spec.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    if spec.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
