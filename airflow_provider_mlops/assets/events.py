"""Asset events with the lineage in `extra`, so that other DAGs can be scheduled on what a task has made.

A task says only after it has run which dataset or model it made, and it may make none. So its outlet
is an alias, and the assets are added to it at run time. Consumers schedule on the asset itself, e.g.
`Asset("mlops://models/churn")`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_provider_mlops.assets.uri import dataset_uri, model_uri, rollout_uri

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mlops.data.dataset import Dataset
    from airflow_provider_mlops.data.lineage import TaskIdentity
    from airflow_provider_mlops.registry.model_version import ModelVersion

DATASETS = AssetAlias("mlops-datasets")
MODELS = AssetAlias("mlops-models")


@dataclass(frozen=True)
class AssetUpdate:
    """One asset that a task has made a new version of.

    `extra` is flat, since Airflow 3.1 loses an event whose extra holds a list or a dictionary.
    """

    uri: str
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nested = [name for name, value in self.extra.items() if isinstance(value, list | tuple | dict)]
        if nested:
            raise TypeError(
                f"extra holds lists or dictionaries under {nested}: write each value under a key of its own"
            )


def emit(context: Context, alias: AssetAlias, updates: list[AssetUpdate], task: TaskIdentity) -> None:
    """Register an event for each update when the task succeeds."""
    events = context["outlet_events"][alias]
    for update in updates:
        lineage: dict[str, Any] = {
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "task_id": task.task_id,
            "map_index": task.map_index,
        }
        events.add(Asset(update.uri), extra={**lineage, **update.extra})


def dataset_made(dataset: Dataset, extra: dict[str, Any]) -> AssetUpdate:
    """A new version of a dataset."""
    version = {"dataset_uri": dataset.uri, "fingerprint": dataset.fingerprint, "rows": dataset.rows}
    return AssetUpdate(dataset_uri(dataset.name), {**version, **extra})


def version_made(model: ModelVersion, extra: dict[str, Any]) -> AssetUpdate:
    """A new version of a registered model."""
    return AssetUpdate(model_uri(model.name), {"version": model.version, "mlflow_run_id": model.run_id, **extra})


def alias_moved(
    model_name: str, alias: str, old: int | None, new: int | None, extra: dict[str, Any] | None = None
) -> AssetUpdate:
    """An alias of a model that stands at another version."""
    return AssetUpdate(model_uri(model_name, alias), {"alias": alias, "from": old, "to": new, **(extra or {})})


def rolled_out(result: Any) -> AssetUpdate:
    """A rollout that is over, under the status with which it ended."""
    extra = {
        "rollout_id": result.rollout_id, "candidate": result.model.version, "version": result.version,
        "reason": result.reason, "audit_sequence": result.deployment.audit_sequence,
    }  # fmt: skip
    return AssetUpdate(rollout_uri(result.model.name, result.status), extra)


def deployed(deployment: Any, reason: str) -> list[AssetUpdate]:
    """What a deployment or a rollback moves: `champion`, and `previous` to where the champion stood."""
    extra = {"reason": reason, "audit_sequence": deployment.audit_sequence}
    name, new, old = deployment.model_name, deployment.version, deployment.previous_version
    updates = [alias_moved(name, "champion", old, new, extra)]
    if old is not None:
        updates.append(alias_moved(name, "previous", None, old, extra))
    return updates
