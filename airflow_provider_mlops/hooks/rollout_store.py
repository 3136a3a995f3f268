"""The database of rollouts: `[mlops] rollout_store_url`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import conf
from pydantic import SecretStr

from airflow_provider_mlops.hooks.connection import secret
from airflow_provider_mlops.hooks.storage import storage_uri

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore


def rollout_store_url() -> str | None:
    """Return the configured URL, whose password is masked in logs; None for the default under the storage URI."""
    url: str = conf.get("mlops", "rollout_store_url", fallback="") or ""
    if not url:
        return None
    password = urlsplit(url).password
    if password:
        secret(password, "password")
        secret(unquote(password), "password")
    return url


def rollout_secrets() -> dict[str, SecretStr]:
    """Return the URL under the name that a Workspace uses; an empty dict for the default."""
    url = rollout_store_url()
    return {} if url is None else {"rollout_store_url": SecretStr(url)}


def rollout_store() -> RolloutStore:
    """Open the store. Close it after use."""
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url

    return RolloutStore(rollout_store_url() or default_url(storage_uri()))
