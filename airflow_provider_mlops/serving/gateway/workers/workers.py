"""Runs a gateway: prepares its address and its directory, and starts the supervisor with its workers.

Nothing that imports prometheus_client may be imported at module level: prometheus_client chooses its storage when it is
imported, by the environment variable that `run` sets if there are several workers.
"""

from __future__ import annotations

import gc
import importlib
import logging
import math
import os
import shutil
import socket
import tempfile
from dataclasses import replace

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry.packaging import import_skops
from airflow_provider_mlops.registry.telemetry import disable_telemetry
from airflow_provider_mlops.serving.gateway.http import metrics_directory
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import sockets
from airflow_provider_mlops.serving.gateway.workers.listening import log_listening
from airflow_provider_mlops.serving.gateway.workers.stop import Stop
from airflow_provider_mlops.serving.protocols.memory_budget import LARGE_SHARE

log = logging.getLogger(__name__)

_PRELOADED = (
    "mlflow.models",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "airflow_provider_mlops.serving.gateway.workers.server",
)
"""Modules that all workers and trials need."""


def run(settings: Settings, port: int, count: int, *, max_worker_bytes: int | None = None) -> int:
    """Serve with `count` workers until a signal arrives; then they close the port, answer and compact the log.

    With port 0, the system chooses a free port, which is logged (`listening.find_url`).

    Parameters
    ----------
    max_worker_bytes
        Resident memory above which a worker is replaced; None for no limit.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    InvalidSpecError
        If the address or another setting cannot be used, or if `max_worker_bytes` is less than a worker needs without
        models.
    """
    if settings.max_in_flight_bytes * LARGE_SHARE < settings.max_body_bytes:
        raise InvalidSpecError(
            "max_in_flight_bytes",
            settings.max_in_flight_bytes,
            f"it must be at least {math.ceil(settings.max_body_bytes / LARGE_SHARE)}, so that bodies of max_body_bytes "
            "can be received. Use more, or a smaller max_body_bytes",
        )
    stop = Stop()
    directory = tempfile.mkdtemp(prefix="airflow-mlops-gateway-")
    listener: socket.socket | None = None
    grpc_reserved: socket.socket | None = None
    try:
        if count > 1:
            os.environ[metrics_directory.VARIABLE] = os.path.join(directory, "metrics")
            os.mkdir(os.environ[metrics_directory.VARIABLE])
        from airflow_provider_mlops.serving.gateway.access import opening

        # The local key must exist before the log says that the gateway listens.
        opening.check(settings)
        # With several workers, this socket only reserves the port, whichever of them are running.
        listener = sockets.bind(settings.host, port, shared=count > 1)
        port = listener.getsockname()[1]
        if count == 1:
            listener.listen(sockets.BACKLOG)
        if settings.grpc_port is not None:
            grpc_reserved = sockets.reserve(settings.host, settings.grpc_port, "grpc_port")
            settings = replace(settings, grpc_port=grpc_reserved.getsockname()[1])
        log_listening(log, settings, port, count)
        _preload()
        from airflow_provider_mlops.serving.gateway.workers.supervisor import Supervisor
        from airflow_provider_mlops.serving.gateway.workers.worker import WorkerOptions

        own = listener if count == 1 else None
        options = WorkerOptions(settings, port, own, directory)
        code = Supervisor(options, count, listener, stop, max_worker_bytes=max_worker_bytes).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if listener is not None:
            listener.close()
        if grpc_reserved is not None:
            grpc_reserved.close()
    log.info("The gateway stopped")
    return code


def _preload() -> None:
    """Import what workers and trials need, so that they are ready as soon as they are forked, and share its memory.

    None of this may start a thread: forked processes do not have it.
    """
    for name in _PRELOADED:
        importlib.import_module(name)
    disable_telemetry()
    import_skops()
    # Garbage collections of the workers would otherwise write to all of it, so that it is no longer shared.
    gc.collect()
    gc.freeze()
