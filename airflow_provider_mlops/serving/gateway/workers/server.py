"""Runs the gateway on uvicorn until SIGTERM or Ctrl-C, then drains it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn
from typing_extensions import override

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.gateway import DRAIN_SECONDS, Gateway
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.http.open_connections import OpenConnections
from airflow_provider_mlops.serving.gateway.http.tls_listener import TlsListener
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import sockets
from airflow_provider_mlops.serving.gateway.workers.link import SupervisorLink
from airflow_provider_mlops.serving.models import activity, threads

log = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 75
_LEAVE_THREADS_AFTER_SECONDS = 5.0
"""How long a process that stops waits for threads that still run model code."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may hold Python's lock while the event loop waits, in seconds; Python's default is 0.005."""


def serve(settings: Settings, listener: socket.socket, link: SupervisorLink, channel: WorkerChannel | None) -> None:
    """Serve on a socket until a signal arrives; then close it, answer the requests in progress and compact the log.

    Parameters
    ----------
    link
        Link to the supervisor, which tries versions before they are loaded here.
    channel
        For one of several workers, the channel to the others. A worker starts to listen once its models are loaded.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    HttpProtocol.open_connections = OpenConnections(sockets.max_connections())
    mlflow = RegistrySettings.from_environment(
        settings.storage_uri, settings.tracking_uri, settings.registry_uri, settings.trusted_types
    )
    gateway = Gateway(settings, Registry(mlflow), channel, trial=link.try_version)
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
        backlog=sockets.BACKLOG,
    )
    uvicorn_server = _Server(config, gateway)

    def stop(number: int, frame: FrameType | None) -> None:
        uvicorn_server.stop_waiting()
        uvicorn_server.should_exit = True

    # This stops uvicorn before its own signal handlers are installed. After draining, uvicorn raises the signal again;
    # then this has no effect, because a drained server has stopped successfully.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    uvicorn_server.run(sockets=[listener])
    _leave_threads_behind()


class _Server(uvicorn.Server):
    """uvicorn's server, which accepts TLS connections itself, and lets no request wait for MLflow while it stops."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._tls_listeners: list[TlsListener] = []

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        certificates = self._gateway.certificates
        if certificates is None:
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        for listener in sockets or ():
            tls = TlsListener(listener, self._make_protocol, lambda: certificates.current.context, self.config.backlog)
            tls.start()
            self._tls_listeners.append(tls)

    def stop_waiting(self) -> None:
        """Note that the process stops, so that a worker that is starting does not wait for its models any longer."""
        activity.stopping()
        self._gateway.is_stopping = True

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stop_waiting()
        super().handle_exit(sig, frame)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.stop_loading()
        for tls in self._tls_listeners:
            await tls.stop()
        await super().shutdown(sockets)

    def _make_protocol(self) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)


def _leave_threads_behind() -> None:
    """End the process even if a model call never returns; everything that matters is on disk.

    Threads that wait for MLflow are not waited for.
    """
    until = time.monotonic() + _LEAVE_THREADS_AFTER_SECONDS
    while threads.any_predicting() and time.monotonic() < until:
        time.sleep(0.05)
    if threads.any_predicting():
        log.warning("A model call did not finish within %g s; exiting anyway", _LEAVE_THREADS_AFTER_SECONDS)
    if threads.any_running():
        logging.shutdown()
        os._exit(0)
