"""The entry point of a worker process.

Nothing that imports prometheus_client may be imported at module level: prometheus_client chooses its storage when it is
imported, by the environment variable that `main` sets.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.serving.gateway.http import metrics_directory
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import logs

log = logging.getLogger(__name__)

REJECTED_EXIT_CODE = 2
"""Exit code of a worker that cannot start, however often it is restarted."""


@dataclass(frozen=True)
class WorkerOptions:
    """Options that all workers of a gateway share.

    Parameters
    ----------
    settings
        Settings of the gateway.
    port
        Port that the workers share.
    log_format
        One of `logs.FORMATS`.
    directory
        Directory of the worker channel.
    metrics_directory
        Directory of the workers' metrics.
    """

    settings: Settings
    port: int
    log_format: str
    directory: str
    metrics_directory: str


def main(options: WorkerOptions) -> None:
    """Serve until a signal arrives."""
    os.environ[metrics_directory.VARIABLE] = options.metrics_directory
    from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
    from airflow_provider_mlops.serving.gateway.workers import server

    logs.configure(options.log_format)
    try:
        listener = server.bind(options.settings.host, options.port, shared=True)
        server.serve(options.settings, listener, WorkerChannel(options.directory))
    except MlopsError as error:
        log.error("%s", error)
        raise SystemExit(REJECTED_EXIT_CODE) from error
