"""The supervisor of the workers: starts them, replaces those that end, has versions tried, and stops them all.

It is a process without threads that has imported everything and loads no model, so that it can fork at any time.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from functools import partial
from multiprocessing import connection

from prometheus_client import multiprocess

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.admin import worker_channel
from airflow_provider_mlops.serving.gateway.http import metrics_directory
from airflow_provider_mlops.serving.gateway.workers import deaths, memory, worker
from airflow_provider_mlops.serving.gateway.workers.child import Child
from airflow_provider_mlops.serving.gateway.workers.link import TrialRequest
from airflow_provider_mlops.serving.gateway.workers.stop import Stop
from airflow_provider_mlops.serving.gateway.workers.trials import Trials
from airflow_provider_mlops.serving.models.crash_list import CrashList

log = logging.getLogger(__name__)

_STOP_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 30.0
"""A worker that ran for less than this counts as failing to start."""
_CHECK_SECONDS = 0.5
_MEBIBYTE = 1 << 20


class Supervisor:
    """The workers of one gateway, as their parent process sees them.

    Parameters
    ----------
    options
        Options of the workers.
    count
        Number of workers.
    listener
        Socket of the gateway's address.
    stop
        Says when to stop.
    max_worker_bytes
        Resident memory above which a worker is replaced; None for no limit.
    """

    def __init__(
        self,
        options: worker.WorkerOptions,
        count: int,
        listener: socket.socket,
        stop: Stop,
        *,
        max_worker_bytes: int | None = None,
    ) -> None:
        self._options = options
        self._count = count
        self._listener = listener
        self._stop = stop
        self._max_worker_bytes = max_worker_bytes
        self._crashes = CrashList.of_storage(options.settings.storage_uri)
        self._trials = Trials(options.settings, self._crashes, listener.close)
        self._workers: list[Child] = []
        # Workers that were told to stop, and when they are killed.
        self._ending: dict[Child, float] = {}
        self._failed_starts = 0
        self._start_at = 0.0
        self._kills = memory.out_of_memory_kills()
        own = memory.resident_bytes(os.getpid())
        if max_worker_bytes is not None and max_worker_bytes < own:
            raise InvalidSpecError(
                "max_worker_memory",
                max_worker_bytes // _MEBIBYTE,
                f"a worker without any model takes {own // _MEBIBYTE} MiB. Use more",
            )

    def run(self) -> int:
        """Keep the workers running until a signal arrives. Returns the exit code."""
        code = 0
        try:
            while not self._stop.is_set and not code:
                self._start()
                code = self._wait()
                self._check_memory()
        finally:
            # Closed here, too: otherwise the kernel would accept connections that no one answers.
            self._listener.close()
            self._trials.close()
            for child in self._workers:
                self._end(child)
            while self._workers:
                self._wait()
        return code

    def _start(self) -> None:
        """Start the workers that are missing, unless they have to wait."""
        while len(self._workers) < self._count and time.monotonic() >= self._start_at:
            try:
                child = Child(partial(worker.main, self._options, self._listener.close), "worker")
            except OSError as error:
                log.error("Could not start a worker: %s. Trying again in %g s", error, _MAX_PAUSE_SECONDS)
                self._start_at = time.monotonic() + _MAX_PAUSE_SECONDS
            else:
                self._workers.append(child)

    def _wait(self) -> int:
        """Wait for a message or the end of a process, and handle it. Returns the code with which to exit, or 0."""
        pipes = [child.connection for child in self._workers if child.connection is not None]
        sentinels = [child.process.sentinel for child in self._workers]
        connection.wait([*pipes, *sentinels, *self._trials.connections()], timeout=_CHECK_SECONDS)
        for child in self._workers:
            for message in child.messages():
                if isinstance(message, TrialRequest) and not self._stop.is_set:
                    self._trials.request(message, child.send)
        self._trials.check()
        code = 0
        for child in [child for child in self._workers if not child.process.is_alive()]:
            code = code or self._reap(child)
        for child, until in list(self._ending.items()):
            if time.monotonic() > until:
                log.error("Worker %d did not stop within %.0f s; killing it", child.pid, _STOP_SECONDS)
                child.process.kill()
                self._ending[child] = until + _STOP_SECONDS
        return code

    def _end(self, child: Child) -> None:
        if child not in self._ending:
            child.process.terminate()
            self._ending[child] = time.monotonic() + _STOP_SECONDS

    def _reap(self, child: Child) -> int:
        """Remove a worker that ended, and say why. Returns the code with which to exit, or 0."""
        child.process.join()
        # What it has sent last.
        child.messages()
        self._workers.remove(child)
        is_expected = self._ending.pop(child, None) is not None
        exit_code = child.process.exitcode or 0
        if self._count > 1:
            worker_channel.remove_worker(self._options.directory, child.pid)
            multiprocess.mark_process_dead(child.pid, os.environ[metrics_directory.VARIABLE])  # type: ignore[no-untyped-call]
        kills = memory.out_of_memory_kills()
        death = deaths.examine(child, exit_code, ran_out_of_memory=kills > self._kills)
        self._kills = kills
        if exit_code == worker.REJECTED_EXIT_CODE and death.blame == "nobody":
            child.close()
            return worker.REJECTED_EXIT_CODE
        if not is_expected and not (self._stop.is_set and exit_code == 0):
            self._report(child, death)
        child.close()
        return 0

    def _report(self, child: Child, death: deaths.Death) -> None:
        """Store which version is to blame, decide when the replacement starts, and log both."""
        skipped = deaths.record(death, self._crashes)
        if child.lifetime < _STABLE_SECONDS:
            self._failed_starts += 1
        else:
            self._failed_starts = 0
        # The first worker is replaced at once, and later ones after increasing pauses.
        pause = 0.0 if self._failed_starts < 2 else min(_MAX_PAUSE_SECONDS, 2.0 ** (self._failed_starts - 2))
        self._start_at = time.monotonic() + pause
        names = sorted(f"{crash.model} version {crash.version}" for crash in skipped)
        log.error(
            "Worker %d %s after %.0f s; %s%s%s",
            child.pid,
            death.describe(),
            child.lifetime,
            "stopping"
            if self._stop.is_set
            else f"starting a replacement {f'in {pause:g} s' if pause else 'at once'}"
            + (f" ({pluralize(self._failed_starts, 'worker')} in a row ended soon)" if pause else ""),
            f". {' and '.join(names)} will be skipped until someone asks for it again" if names else "",
            f". Python stack of the worker:\n{death.stack}" if death.stack else "",
        )

    def _check_memory(self) -> None:
        """Replace one worker at a time that has too much memory, after it has answered its requests."""
        if self._max_worker_bytes is None or self._ending or len(self._workers) < self._count:
            return
        for child in self._workers:
            resident = memory.resident_bytes(child.pid)
            if resident > self._max_worker_bytes:
                log.warning(
                    "Worker %d takes %d MiB of memory, and --max-worker-memory allows %d MiB. Replacing it, after it "
                    "has answered its requests",
                    child.pid,
                    resident // _MEBIBYTE,
                    self._max_worker_bytes // _MEBIBYTE,
                )
                if child.lifetime < _STABLE_SECONDS:
                    self._failed_starts += 1
                    self._start_at = time.monotonic() + min(_MAX_PAUSE_SECONDS, 2.0**self._failed_starts)
                self._end(child)
                return
