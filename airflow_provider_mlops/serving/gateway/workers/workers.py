"""Several gateway processes on one port, and one that starts them, starts a dead one anew, and stops them all.

Each worker listens on a socket of its own on the same port (SO_REUSEPORT), so that the kernel shares out the
connections. A worker takes connections once its models are loaded.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client import multiprocess

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.serving.gateway.admin import token, worker_channel
from airflow_provider_mlops.serving.gateway.http import metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import logs, server

log = logging.getLogger(__name__)

_STOP_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 30.0
_REFUSED = 2


class Workers:
    """The workers of one gateway, as the process sees them that started them."""

    def __init__(self, settings: Settings, host: str, port: int, count: int, log_format: str) -> None:
        self._arguments = (settings, host, port, log_format)
        self._count = count
        self._directory = tempfile.mkdtemp(prefix="airflow-mlops-workers-")
        numbers = os.path.join(self._directory, "metrics")
        os.mkdir(numbers)
        os.environ[metrics.DIRECTORY_VARIABLE] = numbers
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[SpawnProcess, float] = {}
        self._pauses = 0
        self._stopping = False

    def run(self) -> int:
        """Keep the workers running until a signal comes. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                while len(self._running) < self._count and not self._stopping:
                    self._start()
                connection.wait([process.sentinel for process in self._running], timeout=0.5)
                for process in [process for process in self._running if not process.is_alive()]:
                    if self._reap(process) == _REFUSED:
                        return _REFUSED
            return 0
        finally:
            self._end_all()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> None:
        process = self._context.Process(target=_work, args=(*self._arguments, self._directory), name="worker")
        process.start()
        self._running[process] = time.monotonic()

    def _reap(self, process: SpawnProcess) -> int:
        """Forget a dead worker. Returns its exit code; waits before the next start if workers die young."""
        assert process.pid is not None
        process.join()
        lived = time.monotonic() - self._running.pop(process)
        worker_channel.forget(self._directory, process.pid)
        multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        code = process.exitcode or 0
        if code != _REFUSED and not self._stopping:
            log.error("Worker %d has died with %d after %.0f s; another one is started", process.pid, code, lived)
            self._pauses = self._pauses + 1 if lived < _STEADY_SECONDS else 0
            # The first one is replaced at once; those that never come up are not tried without end.
            until = time.monotonic() + min(
                _LONGEST_PAUSE_SECONDS, 0.0 if self._pauses < 2 else 2.0 ** (self._pauses - 2)
            )
            while time.monotonic() < until and not self._stopping:
                time.sleep(0.1)
        return code

    def _end_all(self) -> None:
        for process in self._running:
            process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for process in self._running:
            process.join(max(0.1, until - time.monotonic()))
            if process.is_alive():
                log.error("Worker %s does not stop and is killed", process.pid)
                process.kill()
                process.join()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def run(settings: Settings, host: str, port: int, count: int, log_format: str) -> int:
    """Serve by `count` workers until a signal comes. Returns the exit code. Raises InvalidSpecError for the address."""
    # Bound, though not listening: it keeps the port for the workers, whichever of them is alive.
    reserved = server.bind(host, port, shared=True)
    port = reserved.getsockname()[1]
    if settings.token is None:
        token.find_or_make(settings.storage_uri)
    log.info("The gateway listens on http://%s:%d, storage at %s, %d workers", host, port, settings.storage_uri, count)
    code = Workers(settings, host, port, count, log_format).run()
    reserved.close()
    log.info("The gateway has stopped")
    return code


def _work(settings: Settings, host: str, port: int, log_format: str, directory: str) -> None:
    logs.configure(log_format)
    try:
        listener: socket.socket = server.bind(host, port, shared=True)
        server.serve(settings, listener, worker_channel.WorkerChannel(directory))
    except MlopsError as error:
        log.error("%s", error)
        raise SystemExit(_REFUSED) from error
