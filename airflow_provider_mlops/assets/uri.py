"""Asset URIs of the scheme `mlops`.

| URI | a new event means |
|---|---|
| `mlops://datasets/{name}` | a new version of the dataset |
| `mlops://models/{name}` | a new version of the model |
| `mlops://models/{name}/aliases/{alias}` | the alias moved |
| `mlops://models/{name}/rollouts/{status}` | a rollout of the model is over: `promoted`, `rolled_back` or `ended` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset

ROLLOUTS = ("promoted", "rolled_back", "ended")
"""How a rollout can end."""


def dataset_uri(name: str) -> str:
    """
    >>> dataset_uri("customers")
    'mlops://datasets/customers'
    """
    return f"mlops://datasets/{quote(name, safe='')}"


def model_uri(name: str, alias: str | None = None) -> str:
    """
    >>> model_uri("churn"), model_uri("churn", "champion")
    ('mlops://models/churn', 'mlops://models/churn/aliases/champion')
    """
    uri = f"mlops://models/{quote(name, safe='')}"
    return uri if alias is None else f"{uri}/aliases/{quote(alias, safe='')}"


def rollout_uri(name: str, status: str) -> str:
    """
    >>> rollout_uri("churn", "rolled_back")
    'mlops://models/churn/rollouts/rolled_back'
    """
    return f"{model_uri(name)}/rollouts/{status}"


def create_asset(
    *,
    dataset: str | None = None,
    model: str | None = None,
    alias: str | None = None,
    rollout: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Asset:
    """The asset of a dataset, of a model, of a model's alias, or of the rollouts of a model that end in a status.

    Raises ValueError unless it is exactly one.
    """
    from airflow.sdk import Asset

    if (dataset is None) == (model is None) or (alias is not None and model is None):
        raise ValueError("name a dataset or a model, and an alias only with a model")
    if rollout is not None and (model is None or alias is not None):
        raise ValueError("name the status of a rollout with a model, and without an alias")
    uri = dataset_uri(dataset) if dataset is not None else model_uri(str(model), alias)
    return Asset(uri if rollout is None else rollout_uri(str(model), rollout), extra=extra)


def normalize(parts: SplitResult) -> SplitResult:
    """What Airflow calls for each URI of the scheme. Raises ValueError for one that no task will ever update."""
    path = parts.path.strip("/").split("/")
    is_plain = parts.netloc in ("datasets", "models") and len(path) == 1
    is_alias = parts.netloc == "models" and len(path) == 3 and path[1] == "aliases"
    is_rollout = parts.netloc == "models" and len(path) == 3 and path[1] == "rollouts" and path[2] in ROLLOUTS
    if not all(path) or not (is_plain or is_alias or is_rollout):
        raise ValueError(
            f"{parts.geturl()} is none of mlops://datasets/NAME, mlops://models/NAME, "
            f"mlops://models/NAME/aliases/ALIAS and mlops://models/NAME/rollouts/STATUS, STATUS being one of "
            f"{', '.join(ROLLOUTS)}"
        )
    return parts._replace(path="/" + "/".join(path), query="", fragment="")
