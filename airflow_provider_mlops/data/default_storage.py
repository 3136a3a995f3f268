"""The storage that is used if none is configured."""

from __future__ import annotations

import os


def default_storage_uri() -> str:
    """Return the directory `mlops` in `AIRFLOW_HOME`, or in `~/airflow` if that is not set."""
    home = os.path.expanduser(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return os.path.join(os.path.abspath(home), "mlops")
