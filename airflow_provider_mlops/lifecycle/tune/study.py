"""A study that several tasks share: who may still try, what a killed task left, and where MLflow shows it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.registry.run import attached_run, begin_run

if TYPE_CHECKING:
    import optuna

    from airflow_provider_mlops.lifecycle.scoring.metrics import Metric
    from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)

WORKER = "worker"
"""The user attribute of a trial that names the task which tries it."""

ERROR = "error"
"""The user attribute of a trial that failed by itself. Such a one counts; one that was killed does not."""


def name_of(spec: TuneSpec, workspace: Workspace) -> str:
    """The study's name: given, or else the same for all tasks of a DAG run that tune one model."""
    return spec.study_name or "/".join((workspace.task.dag_id, workspace.task.run_id, spec.model_name))


def directory(name: str, workspace: Workspace) -> str:
    """Where the study is kept."""
    return storage.join(workspace.storage_uri, "studies", quote(name, safe=" "))


def open_study(spec: TuneSpec, workspace: Workspace, metric: Metric) -> optuna.Study:
    """The study, created by whoever comes first. Raises InvalidSpecError if it is there with another metric."""
    import optuna

    from airflow_provider_mlops.lifecycle.tune.journal import StorageJournal

    name = name_of(spec, workspace)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = StorageJournal(storage.join(directory(name, workspace), "journal"))
    keeper = optuna.storages.JournalStorage(cast("Any", journal))
    direction: Literal["maximize", "minimize"] = "maximize" if metric.greater_is_better else "minimize"
    study = optuna.create_study(
        storage=keeper, study_name=name, direction=direction, load_if_exists=True, pruner=_pruner(spec)
    )
    # A retry must not repeat what the first try has seen already, so the number of trials is part of the seed.
    study.sampler = _sampler(spec.seed + 1000 * spec.worker + 1_000_003 * len(study.get_trials(deepcopy=False)))
    there = study.user_attrs.get("metric")
    if there is None:
        study.set_user_attr("metric", metric.name)
    elif there != metric.name:
        raise InvalidSpecError(
            "metric", metric.name, f"the study {name} is about {there}: give another study_name, or that metric"
        )
    return study


def ask(study: optuna.Study, limit: int, worker: str) -> optuna.Trial | None:
    """A new trial, or None when as many as `limit` have been begun by all workers together."""
    if len(_counted(study)) >= limit:
        return None
    trial = study.ask()
    trial.set_user_attr(WORKER, worker)
    # Another worker may have asked at the same moment. The numbers of the trials decide who is within the limit.
    if sum(number < trial.number for number in _counted(study)) >= limit:
        study.tell(trial, state=_states().FAIL)
        return None
    return trial


def give_up_killed(study: optuna.Study, worker: str) -> list[int]:
    """Mark as failed what an earlier try of this task was at when it was killed, and return the trials' numbers."""
    numbers = [
        trial.number
        for trial in study.get_trials(deepcopy=False, states=(_states().RUNNING,))
        if trial.user_attrs.get(WORKER) == worker
    ]
    for number in numbers:
        study.tell(number, state=_states().FAIL)
    if numbers:
        log.info("An earlier try of this task was killed during the trials %s: they are tried anew", numbers)
    return numbers


def finished(study: optuna.Study) -> int:
    """How many trials ended: complete, pruned, or with an error."""
    return sum(
        trial.state in (_states().COMPLETE, _states().PRUNED) or ERROR in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )


def is_over(study: optuna.Study, limit: int) -> bool:
    """Whether as many trials as `limit` have ended and nobody is at one. Of several workers, the last one sees it."""
    return finished(study) >= limit and not study.get_trials(deepcopy=False, states=(_states().RUNNING,))


def has_complete(study: optuna.Study) -> bool:
    """Whether a trial got to its last fold."""
    return bool(study.get_trials(deepcopy=False, states=(_states().COMPLETE,)))


def best(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """The best complete trial. Raises RejectedError, with the first error, if there is none."""
    if has_complete(study):
        return study.best_trial
    errors = [trial.user_attrs[ERROR] for trial in study.get_trials(deepcopy=False) if ERROR in trial.user_attrs]
    if errors:
        raise RejectedError(
            f"all {len(errors)} trials of the study {study.study_name} failed, the first with: {errors[0]}"
        )
    raise RejectedError(f"the study {study.study_name} has no complete trial: run the phase search first")


@contextmanager
def study_run(spec: TuneSpec, workspace: Workspace) -> Iterator[Run]:
    """The MLflow run that all trials of the study are nested in. Of several workers at once, one makes it."""
    from airflow_provider_mlops.registry import tags as tag

    registry = workspace.registry()
    name = name_of(spec, workspace)
    claim = storage.join(directory(name, workspace), "run.txt")
    if not storage.exists(claim):
        mine = begin_run(registry, workspace.task, "tune", experiment=spec.experiment, tags={tag.STUDY: name})
        try:
            storage.create(claim, mine.id.encode())
        except FileExistsError:
            registry.client.delete_run(mine.id)
    with attached_run(registry, storage.read_text(claim)) as run:
        yield run


def _counted(study: optuna.Study) -> list[int]:
    failed = _states().FAIL
    return [
        trial.number for trial in study.get_trials(deepcopy=False) if trial.state != failed or ERROR in trial.user_attrs
    ]


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    with warnings.catch_warnings():
        # constant_liar, which keeps workers apart that search at the same time, was experimental before Optuna 5.
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)


def _pruner(spec: TuneSpec) -> optuna.pruners.BasePruner:
    import optuna

    if spec.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    if spec.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
