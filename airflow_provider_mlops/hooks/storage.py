"""The location of everything that tasks write: `[mlops] storage_uri`."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mlops.data.default_storage import default_storage_uri


def storage_uri() -> str:
    """Return the storage URI from Airflow's configuration; a directory `mlops` in AIRFLOW_HOME by default."""
    configured: str = conf.get("mlops", "storage_uri", fallback="") or ""
    if configured:
        return configured.rstrip("/") if "://" in configured else os.path.abspath(os.path.expanduser(configured))
    return default_storage_uri()
