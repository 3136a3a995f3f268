"""Defaults that the gateway shares with its clients, the CLI and the Airflow connection."""

from __future__ import annotations

DEFAULT_HOST = "127.0.0.1"
"""Address on which `airflow-mlops serve` listens."""

DEFAULT_PORT = 8710
"""Port on which `airflow-mlops serve` listens."""

DEFAULT_GATEWAY_URL = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
"""URL at which clients expect a gateway."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Size of the largest request body that the gateway accepts."""
