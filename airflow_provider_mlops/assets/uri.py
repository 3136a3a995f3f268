"""Asset URIs of the scheme `mlops`.

- `mlops://datasets/{name}`: a new version of the dataset
- `mlops://models/{name}`: a new version of the model
- `mlops://models/{name}/aliases/{alias}`: the alias moved
- `mlops://models/{name}/rollouts/{status}`: a rollout of the model is over: `promoted`, `rolled_back` or `ended`
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset
    from pydantic import JsonValue

ROLLOUTS = ("promoted", "rolled_back", "ended")
"""The statuses with which a rollout can end."""


def dataset_uri(name: str) -> str:
    """Return the asset URI of a dataset.

    >>> dataset_uri("customers")
    'mlops://datasets/customers'
    """
    return f"mlops://datasets/{quote(name, safe='')}"


def model_uri(name: str, alias: str | None = None) -> str:
    """Return the asset URI of a model, or of one of its aliases.

    >>> model_uri("churn"), model_uri("churn", "champion")
    ('mlops://models/churn', 'mlops://models/churn/aliases/champion')
    """
    uri = f"mlops://models/{quote(name, safe='')}"
    return uri if alias is None else f"{uri}/aliases/{quote(alias, safe='')}"


def rollout_uri(name: str, status: str) -> str:
    """Return the asset URI of the model's rollouts that end with a status.

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
    extra: dict[str, JsonValue] | None = None,
) -> Asset:
    """Return the asset of a dataset, a model, a model's alias, or a model's rollouts that end with a status.

    Raises ValueError if the arguments do not name exactly one of them.
    """
    from airflow.sdk import Asset

    if (dataset is None) == (model is None) or (alias is not None and model is None):
        raise ValueError("Either dataset or model is required, and alias can only be used with model.")
    if rollout is not None and (model is None or alias is not None):
        raise ValueError("rollout can only be used with model, and without alias.")
    uri = dataset_uri(dataset) if dataset is not None else model_uri(str(model), alias)
    return Asset(uri if rollout is None else rollout_uri(str(model), rollout), extra=extra)


def normalize(parts: SplitResult) -> SplitResult:
    """Normalize a URI of the scheme. Raises ValueError for a URI that no task ever updates."""
    path = parts.path.strip("/").split("/")
    is_plain = parts.netloc in ("datasets", "models") and len(path) == 1
    is_alias = parts.netloc == "models" and len(path) == 3 and path[1] == "aliases"
    is_rollout = parts.netloc == "models" and len(path) == 3 and path[1] == "rollouts" and path[2] in ROLLOUTS
    if not all(path) or not (is_plain or is_alias or is_rollout):
        raise ValueError(
            f"The asset URI {parts.geturl()} is invalid. It must be mlops://datasets/NAME, mlops://models/NAME, "
            "mlops://models/NAME/aliases/ALIAS or mlops://models/NAME/rollouts/STATUS, where STATUS is one of "
            f"{', '.join(ROLLOUTS)}."
        )
    return parts._replace(path="/" + "/".join(path), query="", fragment="")
