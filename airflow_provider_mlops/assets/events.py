"""Asset events with the lineage in `extra`, on which other DAGs can be scheduled.

Only after a task has run is it known which dataset or model it has updated, if any. So its outlet is an
alias, and assets are added to it at run time. Consumers schedule on the asset itself, for example
`Asset("mlops://models/churn")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetAlias

from airflow_provider_mlops.assets.uri import dataset_uri, model_uri, rollout_uri

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

    from airflow_provider_mlops.data.dataset import Dataset
    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
    from airflow_provider_mlops.lifecycle.rollout.spec import RolloutResult
    from airflow_provider_mlops.registry.model_version import ModelVersion

DATASETS = AssetAlias("mlops-datasets")
MODELS = AssetAlias("mlops-models")


@dataclass(frozen=True)
class AssetUpdate:
    """An update of an asset by a task.

    `extra` is flat, because Airflow 3.1 loses an event whose extra contains a list or a dictionary.
    """

    uri: str
    extra: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nested = [name for name, value in self.extra.items() if isinstance(value, list | tuple | dict)]
        if nested:
            raise TypeError(f"extra has lists or dictionaries under {', '.join(nested)}: give each value its own key")


def emit(context: Context, alias: AssetAlias, updates: list[AssetUpdate], task: TaskIdentity) -> None:
    """Register an event for each update when the task succeeds."""
    events = context["outlet_events"][alias]
    for update in updates:
        lineage: dict[str, JsonValue] = {
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "task_id": task.task_id,
            "map_index": task.map_index,
        }
        events.add(Asset(update.uri), extra={**lineage, **update.extra})


def dataset_made(dataset: Dataset, extra: Mapping[str, JsonValue]) -> AssetUpdate:
    """Return the update for a new version of a dataset."""
    version: dict[str, JsonValue] = {
        "dataset_uri": dataset.uri,
        "fingerprint": dataset.fingerprint,
        "rows": dataset.rows,
    }
    return AssetUpdate(dataset_uri(dataset.name), {**version, **extra})


def version_made(model: ModelVersion, extra: Mapping[str, JsonValue]) -> AssetUpdate:
    """Return the update for a new version of a registered model."""
    return AssetUpdate(model_uri(model.name), {"version": model.version, "mlflow_run_id": model.run_id, **extra})


def alias_moved(
    model_name: str, alias: str, old: int | None, new: int | None, extra: Mapping[str, JsonValue] | None = None
) -> AssetUpdate:
    """Return the update for an alias of a model that has moved to another version."""
    return AssetUpdate(model_uri(model_name, alias), {"alias": alias, "from": old, "to": new, **(extra or {})})


def rolled_out(result: RolloutResult) -> AssetUpdate:
    """Return the update for a rollout that is over. Its asset depends on how the rollout ended."""
    extra: dict[str, JsonValue] = {
        "rollout_id": result.rollout_id,
        "candidate": result.model.version,
        "version": result.version,
        "reason": result.reason,
        "audit_sequence": None if result.deployment is None else result.deployment.audit_sequence,
    }
    return AssetUpdate(rollout_uri(result.model.name, result.status), extra)


def deployed(deployment: Deployment, reason: str) -> list[AssetUpdate]:
    """Return the updates for a deployment or rollback: `champion` moves, and `previous` takes its old version."""
    extra: dict[str, JsonValue] = {"reason": reason, "audit_sequence": deployment.audit_sequence}
    name, new, old = deployment.model_name, deployment.version, deployment.previous_version
    updates = [alias_moved(name, "champion", old, new, extra)]
    if old is not None:
        updates.append(alias_moved(name, "previous", None, old, extra))
    return updates
