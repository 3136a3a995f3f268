"""The supervisor of several gateway processes on one port: starts them, replaces those that exit, and stops them all.

Each worker listens on its own socket on the same port (SO_REUSEPORT), and the kernel distributes the connections.
A worker accepts connections once its models are loaded.
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
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client import multiprocess

from airflow_provider_mlops.serving.gateway.access import opening
from airflow_provider_mlops.serving.gateway.admin import worker_channel
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import server, worker
from airflow_provider_mlops.serving.gateway.workers.listening import log_listening

log = logging.getLogger(__name__)

_STOP_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 30.0
"""A worker that ran for less than this counts as failing to start."""


class Workers:
    """The workers of one gateway, as their parent process sees them."""

    def __init__(self, options: worker.WorkerOptions, count: int) -> None:
        self._options = options
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[SpawnProcess, float] = {}
        self._failed_starts = 0
        self._stopping = False

    def run(self) -> int:
        """Keep the workers running until a signal arrives. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                while len(self._running) < self._count and not self._stopping:
                    self._start()
                connection.wait([process.sentinel for process in self._running], timeout=0.5)
                for process in [process for process in self._running if not process.is_alive()]:
                    if self._reap(process) == worker.REJECTED_EXIT_CODE:
                        return worker.REJECTED_EXIT_CODE
            return 0
        finally:
            self._end_all()

    def _start(self) -> None:
        process = self._context.Process(target=worker.main, args=(self._options,), name="worker")
        process.start()
        self._running[process] = time.monotonic()

    def _reap(self, process: SpawnProcess) -> int:
        """Remove a worker that exited, and pause if workers keep exiting. Returns its exit code."""
        assert process.pid is not None
        process.join()
        lifetime = time.monotonic() - self._running.pop(process)
        worker_channel.remove_worker(self._options.directory, process.pid)
        multiprocess.mark_process_dead(process.pid, self._options.metrics_directory)  # type: ignore[no-untyped-call]
        code = process.exitcode or 0
        if code != worker.REJECTED_EXIT_CODE and not self._stopping:
            log.error("Worker %d exited with code %d after %.0f s; starting a replacement", process.pid, code, lifetime)
            self._failed_starts = self._failed_starts + 1 if lifetime < _STABLE_SECONDS else 0
            self._pause()
        return code

    def _pause(self) -> None:
        """Replace the first worker at once, and later ones after increasing pauses."""
        seconds = 0.0 if self._failed_starts < 2 else min(_MAX_PAUSE_SECONDS, 2.0 ** (self._failed_starts - 2))
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping:
            time.sleep(0.1)

    def _end_all(self) -> None:
        for process in self._running:
            process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for process in self._running:
            process.join(max(0.1, until - time.monotonic()))
            if process.is_alive():
                log.error("Worker %s did not stop within %.0f s; killing it", process.pid, _STOP_SECONDS)
                process.kill()
                process.join()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def run(settings: Settings, port: int, count: int, log_format: str) -> int:
    """Serve with `count` workers until a signal arrives.

    Returns the exit code. Raises InvalidSpecError if the address or another setting cannot be used.
    """
    # The local key must exist before the log says that the gateway listens.
    opening.check(settings)
    # Bound but not listening: this reserves the port for the workers, whichever of them are running.
    reserved = server.bind(settings.host, port, shared=True)
    port = reserved.getsockname()[1]
    reserved_grpc: socket.socket | None = None
    if settings.grpc_port is not None:
        reserved_grpc = server.bind(settings.host, settings.grpc_port, shared=True, name="grpc_port")
        settings = replace(settings, grpc_port=reserved_grpc.getsockname()[1])
    directory = tempfile.mkdtemp(prefix="airflow-mlops-workers-")
    try:
        metrics_directory = os.path.join(directory, "metrics")
        os.mkdir(metrics_directory)
        log_listening(log, settings, port, count)
        options = worker.WorkerOptions(settings, port, log_format, directory, metrics_directory)
        code = Workers(options, count).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        reserved.close()
        if reserved_grpc is not None:
            reserved_grpc.close()
    log.info("The gateway stopped")
    return code
