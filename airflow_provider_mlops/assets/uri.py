"""Asset URIs of the scheme `mlops`.

| URI | a new event means |
|---|---|
| `mlops://datasets/{name}` | a new version of the dataset |
| `mlops://models/{name}` | a new version of the model |
| `mlops://models/{name}/aliases/{alias}` | the alias moved |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset


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


def create_asset(
    *,
    dataset: str | None = None,
    model: str | None = None,
    alias: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Asset:
    """The asset of a dataset, of a model, or of a model's alias. Raises ValueError unless it is exactly one."""
    from airflow.sdk import Asset

    if (dataset is None) == (model is None) or (alias is not None and model is None):
        raise ValueError("name a dataset or a model, and an alias only with a model")
    uri = dataset_uri(dataset) if dataset is not None else model_uri(str(model), alias)
    return Asset(uri, extra=extra)


def normalize(parts: SplitResult) -> SplitResult:
    """What Airflow calls for each URI of the scheme. Raises ValueError for one that no task will ever update."""
    path = parts.path.strip("/").split("/")
    is_plain = parts.netloc in ("datasets", "models") and len(path) == 1
    is_alias = parts.netloc == "models" and len(path) == 3 and path[1] == "aliases"
    if not all(path) or not (is_plain or is_alias):
        raise ValueError(
            f"{parts.geturl()} is none of mlops://datasets/NAME, mlops://models/NAME and mlops://models/NAME/aliases/ALIAS"
        )
    return parts._replace(path="/" + "/".join(path), query="", fragment="")
