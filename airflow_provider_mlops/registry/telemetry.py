"""Usage statistics of third-party libraries, which are off by default."""

from __future__ import annotations

import os

_OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "GX_ANALYTICS_ENABLED": "false"}


def disable_telemetry() -> None:
    """Turn off the usage statistics of MLflow and Great Expectations, unless the user has set their variables.

    Both libraries read an environment variable when they are first imported, so call this before that.
    """
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
