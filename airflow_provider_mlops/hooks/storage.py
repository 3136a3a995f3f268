"""Where everything that tasks make is kept: `[mlops] storage_uri`."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import conf


def storage_uri() -> str:
    """The storage URI from Airflow's configuration; a directory `mlops` in AIRFLOW_HOME by default."""
    configured: str = conf.get("mlops", "storage_uri", fallback="") or ""
    if configured:
        return configured.rstrip("/") if "://" in configured else os.path.abspath(os.path.expanduser(configured))
    home = os.path.expanduser(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return os.path.join(os.path.abspath(home), "mlops")
