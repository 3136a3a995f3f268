"""Where rollouts are kept: `[mlops] rollout_store_url`."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf, mask_secret

from airflow_provider_mlops.hooks.storage import storage_uri


def rollout_store_url() -> str:
    """The SQLAlchemy URL from Airflow's configuration; by default SQLite under the storage URI.

    It holds a password where there is one, which is masked in logs from now on.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from airflow_provider_mlops.serving.rollouts.store import default_url

    url: str = conf.get("mlops", "rollout_store_url", fallback="") or ""
    if not url:
        return default_url(storage_uri())
    try:
        password = make_url(url).password
    except ArgumentError:
        # The store says what is wrong with it.
        return url
    if password:
        mask_secret(password, "password")
    return url
