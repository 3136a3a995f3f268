"""Runs the gateway on uvicorn until SIGTERM or Ctrl-C, and drains it then."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from types import FrameType

import uvicorn

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.gateway import Gateway
from airflow_provider_mlops.serving.one_write import OneWriteProtocol
from airflow_provider_mlops.serving.settings import Settings

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 30
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_PATIENCE_SECONDS = 5.0


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal comes. Then no new connection is taken, what is under way is answered, the log is compacted.

    With port 0 the system chooses one; the log says which. Raises InvalidSpecError if the address cannot be used.
    """
    listener = _listen(host, port)
    registry = Registry(
        settings.tracking_uri,
        settings.registry_uri,
        storage_uri=settings.storage_uri,
        username=os.environ.get("MLFLOW_TRACKING_USERNAME"),
        password=os.environ.get("MLFLOW_TRACKING_PASSWORD"),
        token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
    )
    gateway = Gateway(settings, registry)
    config = uvicorn.Config(
        gateway.asgi(),
        loop="uvloop",
        http=OneWriteProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        server_header=False,
    )
    log.info(
        "The gateway listens on http://%s:%d, storage at %s", host, listener.getsockname()[1], settings.storage_uri
    )
    # uvicorn raises the signal again once it has drained. To have drained is success, so nothing more happens then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    uvicorn.Server(config).run(sockets=[listener])
    log.info("The gateway has stopped")
    _leave_threads_behind()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidSpecError("port", port, f"{host} cannot be listened on: {error}; give another --port") from error
    listener.listen(_BACKLOG)
    return listener


def _leave_threads_behind() -> None:
    """End the process even if a model never comes back from predicting or loading: all that counts is on the disk."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while any(thread.name.startswith(("predict", "load")) for thread in threading.enumerate()):
        if time.monotonic() > until:
            log.warning("A model is still at work and is left behind")
            logging.shutdown()
            os._exit(0)
        time.sleep(0.05)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
