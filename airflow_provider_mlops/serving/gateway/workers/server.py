"""Runs the gateway on uvicorn until SIGTERM or Ctrl-C, and drains it then."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

import uvicorn

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.admin import token
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.gateway import Gateway
from airflow_provider_mlops.serving.gateway.http.protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.settings import Settings

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 30
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_PATIENCE_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005
"""How long a thread that loads or predicts may keep the event loop waiting for Python's lock; by default it is 5 ms."""


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal comes. Then no new connection is taken, what is under way is answered, the log is compacted.

    With port 0 the system chooses one; the log says which. Raises InvalidSpecError if the address cannot be used.
    """
    listener = bind(host, port)
    listener.listen(_BACKLOG)
    if settings.token is None:
        # Whoever reads in the log that the gateway listens finds the token.
        token.find_or_make(settings.storage_uri)
    log.info(
        "The gateway listens on http://%s:%d, storage at %s", host, listener.getsockname()[1], settings.storage_uri
    )
    serve(settings, listener, None)
    log.info("The gateway has stopped")
    _leave_threads_behind()


def serve(settings: Settings, listener: socket.socket, board: WorkerChannel | None) -> None:
    """Serve on a socket until a signal comes.

    :param board: for one of several workers, where they tell each other what changes. It begins to listen once its
        models are loaded, and stops when the process is gone that started it.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    mlflow = RegistrySettings.from_environment(settings.storage_uri, settings.tracking_uri, settings.registry_uri)
    gateway = Gateway(settings, Registry(mlflow), board)
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
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        server_header=False,
        backlog=_BACKLOG,
    )
    uvicorn_server = uvicorn.Server(config)

    def stop(number: int, frame: FrameType | None) -> None:
        uvicorn_server.should_exit = True

    # Before uvicorn listens to signals, this stops it. Once it has drained, it raises the signal again: to have drained
    # is success, so nothing more happens then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if board is not None:
        threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    uvicorn_server.run(sockets=[listener])
    if board is not None:
        _leave_threads_behind()


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket at an address that does not listen yet; several may be `shared`. Raises InvalidSpecError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidSpecError("port", port, f"{host} cannot be listened on: {error}; give another --port") from error
    return listener


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        log.warning("The process that started this worker is gone")
        os.kill(os.getpid(), signal.SIGTERM)


def _leave_threads_behind() -> None:
    """End the process even if a model never comes back from predicting or loading: all that counts is on the disk."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while any(thread.name.startswith(("predict", "load")) for thread in threading.enumerate()):
        if time.monotonic() > until:
            log.warning("A model is still at work and is left behind")
            logging.shutdown()
            os._exit(0)
        time.sleep(0.05)
