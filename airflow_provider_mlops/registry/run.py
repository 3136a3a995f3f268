"""The MLflow run of a task's step."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.registry import tags as tag

if TYPE_CHECKING:
    from mlflow.entities import Dataset as DatasetEntity

    from airflow_provider_mlops.data.dataset import Dataset
    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_MAX_PARAMETER_LENGTH = 6000
_BATCH = 100
# Tags that a run does not hand down to its child runs.
_OWN_TAGS = ("mlflow.runName", "mlflow.note.content", "mlflow.loggedModels")


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
    """Open the MLflow run of a task's step. It ends as FINISHED, or as FAILED if the block raises.

    A retry of the task continues the run of the earlier try.

    Parameters
    ----------
    registry
        Registry in which the run is logged.
    task
        Task that the run belongs to.
    step
        Name of the step.
    experiment
        Name of the experiment; by default the id of the DAG.
    tags
        Additional tags of the run.
    key
        Distinguishes several runs of the same step and task.
    """
    run = begin_run(registry, task, step, experiment=experiment, tags=tags, key=key)
    with _closing(run):
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
    """Begin a run that stays open after the task. Otherwise like `open_run`."""
    name = task.task_id if task.map_index < 0 else f"{task.task_id} {task.map_index}"
    all_tags = {
        **tag.task_tags(task),
        **(tags or {}),
        tag.STEP: step,
        tag.TRY_NUMBER: str(task.try_number),
        tag.IDENTITY: identity_hash(task, step, *([key] if key else [])),
        "mlflow.user": task.owner,
        "mlflow.source.name": f"{task.dag_id}.{task.task_id}",
        "mlflow.source.type": "JOB",
    }
    experiment = experiment or task.dag_id
    run = _continue_or_create(registry, registry.experiment(experiment), all_tags, name)
    log.info("Opened MLflow run %s in experiment %s%s", run.id, experiment, f": {run.url}" if run.url else "")
    return run


@contextmanager
def attached_run(registry: Registry, run_id: str) -> Iterator[Run]:
    """Open a run that another task began. It ends as with `open_run`, and can be attached to again."""
    mlflow_run = registry.client.get_run(run_id)
    if mlflow_run.info.lifecycle_stage != "active":
        registry.client.restore_run(run_id)
    registry.client.update_run(run_id, status="RUNNING")
    run = Run(registry, mlflow_run.info.experiment_id, run_id, mlflow_run.data.tags, mlflow_run.info.run_name)
    with _closing(run):
        yield run


def identity_hash(task: TaskIdentity, step: str, *parts: str) -> str:
    """Return the hash by which a retry finds what the first try made. It is the same for every try of the task."""
    return hashlib.sha256("\n".join((task.key, step, *parts)).encode()).hexdigest()[:32]


class Run:
    """An open MLflow run. Create one with `open_run`, `begin_run`, `attached_run` or `Run.child`."""

    def __init__(self, registry: Registry, experiment_id: str, run_id: str, tags: Mapping[str, str], name: str) -> None:
        self.registry = registry
        self.experiment_id = experiment_id
        self.id = run_id
        self.name = name
        self._tags = dict(tags)
        self.stays_open = False
        """Whether closing the run leaves it RUNNING, because other tasks still work on it."""

    @property
    def url(self) -> str | None:
        """URL of the run in the MLflow UI; None if MLflow is not reached over HTTP."""
        return self.registry.url(self.id, self.experiment_id)

    def log_params(self, parameters: Mapping[str, Any], *, restart: bool = True) -> None:
        """Log parameters. MLflow does not let a parameter change, so a retry with other values gets a new run.

        With `restart=False`, for a run that other runs belong to, existing parameters keep their values.
        """
        from mlflow.entities import Param

        values = {name: str(value)[:_MAX_PARAMETER_LENGTH] for name, value in parameters.items()}
        existing = self.registry.client.get_run(self.id).data.params
        changed = sorted(name for name, value in values.items() if existing.get(name, value) != value)
        if changed and restart:
            self._restart()
            existing = {}
        elif changed:
            log.warning(
                "MLflow run %s keeps the earlier values of %s, since MLflow does not let parameters change",
                self.id,
                ", ".join(changed),
            )
        added = [Param(name, value) for name, value in values.items() if name not in existing]
        for start in range(0, len(added), _BATCH):
            self.registry.client.log_batch(self.id, params=added[start : start + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, *, model_id: str | None = None) -> None:
        """Log metrics of the run and, with `model_id`, of a logged model too.

        Names may contain letters, digits, spaces and `_ - . / :`. Other characters are replaced by `_`.
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
        """Log a text artifact, for example a report at `reports/analyze.html`."""
        self.registry.client.log_text(self.id, text, path)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags. Existing tags of the same names are overwritten."""
        from mlflow.entities import RunTag

        values = {name: str(value)[: tag.MAX_TAG_LENGTH] for name, value in tags.items()}
        self._tags.update(values)
        self.registry.client.log_batch(self.id, tags=[RunTag(name, value) for name, value in values.items()])

    def log_datasets(self, datasets: Sequence[tuple[Dataset, str]]) -> None:
        """Log datasets as inputs, each with its role: `training`, `validation` or `test`. No rows are read."""
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        inputs = [
            DatasetInput(_dataset_entity(dataset), [InputTag(MLFLOW_DATASET_CONTEXT, role)])
            for dataset, role in datasets
        ]
        self.registry.client.log_inputs(self.id, inputs)

    @contextmanager
    def child(self, key: str, name: str, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
        """Open a run that MLflow shows under this one. `key` distinguishes the children of a run, for retries too."""
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        inherited = {name: value for name, value in self._tags.items() if name not in _OWN_TAGS}
        all_tags = {**inherited, **(tags or {}), tag.IDENTITY: self._child_identity(key), MLFLOW_PARENT_RUN_ID: self.id}
        run = _continue_or_create(self.registry, self.experiment_id, all_tags, name)
        with _closing(run):
            yield run

    def end_child(self, key: str, status: str) -> None:
        """Set the status of a child run, such as `KILLED` if its task was killed. Do nothing if it does not exist."""
        run_id = _find_run(self.registry, self.experiment_id, self._child_identity(key))
        if run_id is not None:
            self.registry.client.set_terminated(run_id, status)

    def _child_identity(self, key: str) -> str:
        return hashlib.sha256(f"{self._tags[tag.IDENTITY]}\n{key}".encode()).hexdigest()[:32]

    def _has_model_in_use(self) -> bool:
        """Return whether an alias points at a version that was made in this run."""
        client = self.registry.client
        versions = client.search_model_versions(f"run_id = '{self.id}'", max_results=1000)
        in_use = {
            (name, int(version))
            for name in {version.name for version in versions}
            for version in client.get_registered_model(name).aliases.values()
        }
        return any((version.name, int(version.version)) in in_use for version in versions)

    def _restart(self) -> None:
        """Replace the run by a new one: delete it, or keep it if an alias points at one of its versions."""
        client, old = self.registry.client, self.id
        in_use = self._has_model_in_use()
        if in_use:
            client.set_tag(old, tag.IDENTITY, f"{self._tags[tag.IDENTITY]} superseded")
            client.set_terminated(old, "FINISHED")
        else:
            client.delete_run(old)
        self.id = _create(self.registry, self.experiment_id, self._tags, self.name)
        log.info(
            "Replaced MLflow run %s by %s, since the parameters changed; the old run was %s",
            old,
            self.id,
            "kept, because an alias points at its model" if in_use else "deleted",
        )


@contextmanager
def _closing(run: Run) -> Iterator[None]:
    """Mark the run as FINISHED after the block, unless it stays open, or as FAILED after an error."""
    try:
        yield
    except BaseException as error:
        _mark_failed(run, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if not run.stays_open:
        run.registry.client.set_terminated(run.id, "FINISHED")


def _mark_failed(run: Run, status: str) -> None:
    try:
        run.registry.client.set_terminated(run.id, status)
    except Exception as error:
        # The user has to see the first error, not this one.
        log.warning("Could not mark MLflow run %s as %s: %s", run.id, status, error)


def _continue_or_create(registry: Registry, experiment_id: str, tags: Mapping[str, str], name: str) -> Run:
    """Return the run with the same identity tag, RUNNING again, or else a new one."""
    run_id = _find_run(registry, experiment_id, tags[tag.IDENTITY])
    if run_id is None:
        return Run(registry, experiment_id, _create(registry, experiment_id, tags, name), tags, name)
    log.info("Continuing MLflow run %s of an earlier try", run_id)
    registry.client.update_run(run_id, status="RUNNING")
    run = Run(registry, experiment_id, run_id, tags, name)
    run.set_tags(tags)
    return run


def _find_run(registry: Registry, experiment_id: str, identity_tag: str) -> str | None:
    """Return the id of the newest run with the identity tag, or None."""
    runs = registry.client.search_runs(
        [experiment_id],
        f"tags.`{tag.IDENTITY}` = '{identity_tag}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return str(runs[0].info.run_id) if runs else None


def _create(registry: Registry, experiment_id: str, tags: Mapping[str, str], name: str) -> str:
    return str(registry.client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)


def _metric_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "_-./: " else "_" for character in name)


def _dataset_entity(dataset: Dataset) -> DatasetEntity:
    from mlflow.entities import Dataset as DatasetEntity

    scheme, separator, _ = dataset.uri.partition("://")
    return DatasetEntity(
        name=dataset.name[:500],
        digest=dataset.fingerprint[:36],
        source_type=scheme if separator and scheme not in ("file", "local") else "local",
        source=json.dumps({"uri": dataset.uri}),
        profile=json.dumps({"num_rows": dataset.rows}),
    )
