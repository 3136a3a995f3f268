"""One MLflow run, which belongs to one step of one task."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.registry import tags as tag

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from airflow_provider_mlops.data.dataset import Dataset
    from airflow_provider_mlops.data.lineage import TaskIdentity
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_PARAMETER_LENGTH = 6000
_TAG_LENGTH = 5000
_BATCH = 100
# What a run does not hand down to those under it.
_OWN_TAGS = ("mlflow.runName", "mlflow.note.content", "mlflow.loggedModels")


def identity(task: TaskIdentity, step: str, *parts: str) -> str:
    """The hash by which a retry finds what the first try made; the same for every try of the task."""
    return hashlib.sha256("\n".join((task.key, step, *parts)).encode()).hexdigest()[:32]


class Run:
    """An open MLflow run. Comes from `open_run` or `Run.child`.

    :ivar id: the run's id in MLflow.
    :ivar url: the run's page in the MLflow UI; None when MLflow is not reached over HTTP.
    :ivar goes_on: set it where other tasks still work on the run, so that closing it here leaves it RUNNING.
    """

    def __init__(self, registry: Registry, experiment_id: str, run_id: str, tags: Mapping[str, str], name: str) -> None:
        self.registry = registry
        self.experiment_id = experiment_id
        self.id = run_id
        self.name = name
        self._tags = dict(tags)
        self.goes_on = False

    @property
    def url(self) -> str | None:
        """The run's page in the MLflow UI; None when MLflow is not reached over HTTP."""
        return self.registry.url(self.id, self.experiment_id)

    def log_params(self, parameters: Mapping[str, Any], *, restart: bool = True) -> None:
        """Record parameters. MLflow never lets one change, so a retry with other values starts the run afresh.

        With `restart` off, as for a run that others hang on, parameters that are there stay as they are.
        """
        from mlflow.entities import Param

        values = {name: str(value)[:_PARAMETER_LENGTH] for name, value in parameters.items()}
        there = self._fetch().data.params
        changed = sorted(name for name, value in values.items() if there.get(name, value) != value)
        if changed and restart:
            self._restart()
            there = {}
        elif changed:
            log.warning("MLflow does not let parameters change; run %s keeps its old %s", self.id, ", ".join(changed))
        fresh = [Param(name, value) for name, value in values.items() if name not in there]
        for start in range(0, len(fresh), _BATCH):
            self.registry.client.log_batch(self.id, params=fresh[start : start + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, *, model_id: str | None = None) -> None:
        """Record numbers, of the run and, with `model_id`, of a logged model too.

        Names may hold letters, digits and `_ - . / :` and spaces; other characters become `_`.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(_metric_name(name), float(value), now, step, model_id=model_id, run_id=self.id)
            for name, value in metrics.items()
        ]
        for start in range(0, len(entries), _BATCH):
            self.registry.client.log_batch(self.id, metrics=entries[start : start + _BATCH])

    def log_text(self, text: str, path: str) -> None:
        """Write a text artifact, e.g. a report under `reports/analyze.html`."""
        self.registry.client.log_text(self.id, text, path)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, over those that are there."""
        from mlflow.entities import RunTag

        values = {name: str(value)[:_TAG_LENGTH] for name, value in tags.items()}
        self._tags.update(values)
        self.registry.client.log_batch(self.id, tags=[RunTag(name, value) for name, value in values.items()])

    def log_datasets(self, datasets: Sequence[tuple[Dataset, str]]) -> None:
        """Record datasets as inputs, each with its role: `training`, `validation`, `test`. No row is read or copied."""
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        inputs = [
            DatasetInput(_dataset_entity(dataset), [InputTag(MLFLOW_DATASET_CONTEXT, role)])
            for dataset, role in datasets
        ]
        self.registry.client.log_inputs(self.id, inputs)

    @contextmanager
    def child(self, key: str, name: str, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
        """Open a run that MLflow shows under this one. `key` tells the children of one run apart, for a retry too."""
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        inherited = {name: value for name, value in self._tags.items() if name not in _OWN_TAGS}
        all_tags = {**inherited, **(tags or {}), tag.IDENTITY: self._child_identity(key), MLFLOW_PARENT_RUN_ID: self.id}
        run = _begin(self.registry, self.experiment_id, all_tags, name)
        with closing(run):
            yield run

    def end_child(self, key: str, status: str) -> None:
        """Give a child another status, as `KILLED` to one whose task was killed. Nothing happens if there is none."""
        found = find(self.registry, self.experiment_id, self._child_identity(key))
        if found is not None:
            self.registry.client.set_terminated(found, status)

    def _child_identity(self, key: str) -> str:
        return hashlib.sha256(f"{self._tags[tag.IDENTITY]}\n{key}".encode()).hexdigest()[:32]

    def _fetch(self) -> MlflowRun:
        return self.registry.client.get_run(self.id)

    def _is_in_use(self) -> bool:
        """Whether an alias points at a version that was made in this run."""
        client = self.registry.client
        versions = client.search_model_versions(f"run_id = '{self.id}'", max_results=1000)
        in_use = {
            (name, int(version))
            for name in {version.name for version in versions}
            for version in client.get_registered_model(name).aliases.values()
        }
        return any((version.name, int(version.version)) in in_use for version in versions)

    def _restart(self) -> None:
        if self._is_in_use():
            log.info(
                "Run %s has other parameters than this try and a model in use: starting a new one beside it", self.id
            )
            self.registry.client.set_tag(self.id, tag.IDENTITY, f"{self._tags[tag.IDENTITY]} superseded")
            self.registry.client.set_terminated(self.id, "FINISHED")
        else:
            log.info("Run %s has other parameters than this try: deleting it and starting a new one", self.id)
            self.registry.client.delete_run(self.id)
        self.id = _create(self.registry, self.experiment_id, self._tags, self.name)


def _begin(registry: Registry, experiment_id: str, tags: Mapping[str, str], name: str) -> Run:
    """The run with the same identity tag, set to RUNNING again, or else a new one."""
    found = find(registry, experiment_id, tags[tag.IDENTITY])
    if found is None:
        return Run(registry, experiment_id, _create(registry, experiment_id, tags, name), tags, name)
    log.info("Continuing MLflow run %s of an earlier try", found)
    registry.client.update_run(found, status="RUNNING")
    run = Run(registry, experiment_id, found, tags, name)
    run.set_tags(tags)
    return run


@contextmanager
def closing(run: Run) -> Iterator[None]:
    """Mark the run as FINISHED after the block, unless it goes on, and as FAILED after an error in it."""
    try:
        yield
    except BaseException as error:
        _fail(run.registry, run.id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if not run.goes_on:
        run.registry.client.set_terminated(run.id, "FINISHED")


def find(registry: Registry, experiment_id: str, identity_tag: str) -> str | None:
    """The id of the newest run with the identity tag, or None."""
    runs = registry.client.search_runs(
        [experiment_id],
        f"tags.`{tag.IDENTITY}` = '{identity_tag}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return str(runs[0].info.run_id) if runs else None


def _create(registry: Registry, experiment_id: str, tags: Mapping[str, str], name: str) -> str:
    return str(registry.client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)


def _fail(registry: Registry, run_id: str, status: str) -> None:
    try:
        registry.client.set_terminated(run_id, status)
    except Exception as error:
        # What went wrong first is what the user has to see.
        log.warning("MLflow run %s could not be marked as %s: %s", run_id, status, error)


def _metric_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "_-./: " else "_" for character in name)


def _dataset_entity(dataset: Dataset) -> Any:
    import json

    from mlflow.entities import Dataset as DatasetEntity

    scheme, separator, _ = dataset.uri.partition("://")
    return DatasetEntity(
        name=dataset.name[:500],
        digest=dataset.fingerprint[:36],
        source_type=scheme if separator and scheme not in ("file", "local") else "local",
        source=json.dumps({"uri": dataset.uri}),
        profile=json.dumps({"num_rows": dataset.rows}),
    )


@contextmanager
def open_run(
    registry: Registry,
    task: TaskIdentity,
    step: str,
    *,
    experiment: str | None = None,
    tags: Mapping[str, str] | None = None,
    key: str = "",
) -> Iterator[Run]:
    """Open the MLflow run of a task's step, in the experiment named like the DAG unless another is given.

    A retry of the task continues the run of the earlier try. The run ends as FINISHED, or as
    FAILED when the block raises. `key` tells several runs of the same step and task apart.
    """
    run = begin_run(registry, task, step, experiment=experiment, tags=tags, key=key)
    with closing(run):
        yield run


def begin_run(
    registry: Registry,
    task: TaskIdentity,
    step: str,
    *,
    experiment: str | None = None,
    tags: Mapping[str, str] | None = None,
    key: str = "",
) -> Run:
    """Like `open_run`, for a run that goes on after the task: nothing ends it."""
    name = task.task_id if task.map_index < 0 else f"{task.task_id} {task.map_index}"
    all_tags = {
        **task.tags(),
        **(tags or {}),
        tag.STEP: step,
        tag.TRY_NUMBER: str(task.try_number),
        tag.IDENTITY: identity(task, step, *([key] if key else [])),
        "mlflow.user": task.owner,
        "mlflow.source.name": f"{task.dag_id}.{task.task_id}",
        "mlflow.source.type": "JOB",
    }
    experiment = experiment or task.dag_id
    run = _begin(registry, registry.experiment(experiment), all_tags, name)
    log.info("MLflow run %s of experiment %s%s", run.id, experiment, f": {run.url}" if run.url else "")
    return run


@contextmanager
def attached_run(registry: Registry, run_id: str) -> Iterator[Run]:
    """Open a run that another task began. It ends as with `open_run`, and can be attached to again."""
    found = registry.client.get_run(run_id)
    if found.info.lifecycle_stage != "active":
        registry.client.restore_run(run_id)
    registry.client.update_run(run_id, status="RUNNING")
    run = Run(registry, found.info.experiment_id, run_id, found.data.tags, found.info.run_name)
    with closing(run):
        yield run
