"""Runs the gateway on uvicorn until SIGTERM or Ctrl-C, then drains it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from types import FrameType

import uvicorn

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.access import opening
from airflow_provider_mlops.serving.gateway.access.tls import tls_options
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.gateway import DRAIN_SECONDS, Gateway
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers.listening import log_listening
from airflow_provider_mlops.serving.models import threads

log = logging.getLogger(__name__)

_MAX_FILES = 65_536
_MAX_CONNECTIONS = 32_768
_OTHER_FILES = 128
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_LEAVE_THREADS_AFTER_SECONDS = 5.0
"""How long a process that stops waits for threads that still run model code."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may hold Python's lock while the event loop waits, in seconds; Python's default is 0.005."""


def run(settings: Settings, port: int) -> None:
    """Serve until a signal arrives; then close the port, answer the requests in progress and compact the log.

    With port 0, the system chooses a free port, which is logged (`listening.find_url`). Raises InvalidSpecError if the
    address or another setting cannot be used.
    """
    # The local key must exist before the log says that the gateway listens.
    opening.check(settings)
    listener = bind(settings.host, port)
    listener.listen(_BACKLOG)
    if settings.grpc_port is not None:
        # Reserved until gRPC itself binds it, so that the log can say which port it is.
        with bind(settings.host, settings.grpc_port, name="grpc_port") as reserved:
            settings = replace(settings, grpc_port=reserved.getsockname()[1])
    log_listening(log, settings, listener.getsockname()[1])
    serve(settings, listener, None)
    log.info("The gateway stopped")
    _leave_threads_behind()


def serve(settings: Settings, listener: socket.socket, channel: WorkerChannel | None) -> None:
    """Serve on a socket until a signal arrives.

    Parameters
    ----------
    channel
        For one of several workers, the channel to the others. A worker starts to listen once its models are loaded,
        and stops when its parent process ends.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    HttpProtocol.max_connections = max_connections()
    mlflow = RegistrySettings.from_environment(
        settings.storage_uri, settings.tracking_uri, settings.registry_uri, settings.trusted_types
    )
    gateway = Gateway(settings, Registry(mlflow), channel)
    config = uvicorn.Config(
        gateway.asgi(),
        interface="asgi3",
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        backlog=_BACKLOG,
        **tls_options(settings),
    )
    uvicorn_server = uvicorn.Server(config)

    def stop(number: int, frame: FrameType | None) -> None:
        uvicorn_server.should_exit = True

    # This stops uvicorn before its own signal handlers are installed. After draining, uvicorn raises the signal again;
    # then this has no effect, because a drained server has stopped successfully.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if channel is not None:
        threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    uvicorn_server.run(sockets=[listener])
    if channel is not None:
        _leave_threads_behind()


def bind(host: str, port: int, *, shared: bool = False, name: str = "port") -> socket.socket:
    """Return a bound socket that does not listen yet. Several sockets can be `shared`.

    Raises InvalidSpecError, with the name of the option.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidSpecError(
            name, port, f"it must be free on {host}, but binding failed: {error}. Use another port"
        ) from error
    return listener


def max_connections() -> int:
    """Raise the limit of open files as far as allowed, and return how many of them may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
    # The rest is for logs, the rollout store, MLflow and models.
    return max(16, min(_MAX_CONNECTIONS, files - max(_OTHER_FILES, files // 4)))


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        log.warning("The parent process of this worker ended; stopping")
        os.kill(os.getpid(), signal.SIGTERM)


def _leave_threads_behind() -> None:
    """End the process even if a model call never returns; everything that matters is on disk."""
    until = time.monotonic() + _LEAVE_THREADS_AFTER_SECONDS
    while threads.any_running():
        if time.monotonic() > until:
            log.warning("A model call did not finish within %g s; exiting anyway", _LEAVE_THREADS_AFTER_SECONDS)
            logging.shutdown()
            os._exit(0)
        time.sleep(0.05)
