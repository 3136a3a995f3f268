"""How several workers share their metrics. This module must not import prometheus_client, see `workers/worker.py`."""

from __future__ import annotations

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the directory of the workers' metrics; prometheus_client reads it when it is imported."""
