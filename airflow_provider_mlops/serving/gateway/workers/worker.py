"""The work of a worker process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import server, sockets
from airflow_provider_mlops.serving.gateway.workers.link import SupervisorLink

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
        Port on which the gateway listens.
    listener
        Socket of the only worker, which keeps waiting connections while the worker is replaced. None if there are
        several workers: each of them has its own, so that the kernel distributes the connections evenly.
    directory
        Directory of the channel between several workers.
    """

    settings: Settings
    port: int
    listener: socket.socket | None
    directory: str


def main(options: WorkerOptions, leave: Callable[[], None], link: SupervisorLink) -> None:
    """Serve until a signal arrives.

    Parameters
    ----------
    leave
        Releases what only the supervisor needs.
    """
    try:
        if options.listener is not None:
            server.serve(options.settings, options.listener, link, None)
        else:
            leave()
            listener = sockets.bind(options.settings.host, options.port, shared=True)
            server.serve(options.settings, listener, link, WorkerChannel(options.directory))
    except MlopsError as error:
        log.error("%s", error)
        raise SystemExit(REJECTED_EXIT_CODE) from error
