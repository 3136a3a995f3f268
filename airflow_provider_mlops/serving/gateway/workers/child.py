"""A process that the supervisor forks: it ends with the supervisor, and leaves behind what it was doing."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import logging
import multiprocessing
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import IO

from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.gateway.workers.link import SupervisorLink, VersionNumber
from airflow_provider_mlops.serving.models import activity
from airflow_provider_mlops.serving.models.activity import ActivityTable

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_MAX_FAULT_BYTES = 200_000


class Child:
    """A forked process.

    Forked instead of spawned: it has everything that the supervisor has imported, so that a replacement is ready at
    once, and it inherits settings and secrets without naming them in its command line or environment.

    Parameters
    ----------
    main
        Called in the process with its end of the pipe. The process ends when it returns.
    name
        Name of the process in messages.

    Attributes
    ----------
    table
        What the threads of the process do.
    versions
        The versions that the numbers in the table stand for.
    connection
        The supervisor's end of the pipe; None once the process has closed its own.
    """

    def __init__(self, main: Callable[[SupervisorLink], None], name: str) -> None:
        self.table = ActivityTable()
        self.versions: dict[int, ModelVersion] = {}
        self._faults: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = multiprocessing.Pipe()
        self.connection: Connection | None = ours
        context = multiprocessing.get_context("fork")
        arguments = (main, self.table, self._faults, ours, theirs, os.getpid())
        self.process = context.Process(target=_begin, args=arguments, name=name)
        with warnings.catch_warnings():
            # The supervisor has no Python threads. Arrow's allocator has one of its own, and starts it again by itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()
        self.began = time.monotonic()

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def lifetime(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.began

    def messages(self) -> list[object]:
        """Return what the process has sent, without the numbers of versions, which are stored."""
        received: list[object] = []
        while self.connection is not None:
            try:
                if not self.connection.poll():
                    break
                message = self.connection.recv()
            except (EOFError, OSError):
                self.connection.close()
                self.connection = None
            else:
                if isinstance(message, VersionNumber):
                    self.versions[message.number] = message.version
                else:
                    received.append(message)
        return received

    def send(self, message: object) -> None:
        """Send a message to the process, if it still listens."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.send(message)

    def faults(self) -> str:
        """Return what the process has written about a fatal signal."""
        self._faults.seek(0)
        return self._faults.read(_MAX_FAULT_BYTES).decode(errors="replace")

    def close(self) -> None:
        """Release what belongs to a process that has ended."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self._faults.close()
        self.table.close()
        self.process.close()


def _begin(
    main: Callable[[SupervisorLink], None],
    table: ActivityTable,
    faults: IO[bytes],
    ours: Connection,
    theirs: Connection,
    parent: int,
) -> None:
    ours.close()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    _end_with(parent)
    gc.enable()
    # If it is enabled already, only the file would change, and a library that has taken a signal since then would keep
    # its own handler, which may never end the process.
    faulthandler.disable()
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV):
        signal.signal(number, signal.SIG_DFL)
    faulthandler.enable(faults, all_threads=True)
    link = SupervisorLink(theirs)
    activity.use(table, link.announce)
    try:
        main(link)
    finally:
        # An end in order is no version's doing, whatever other threads do meanwhile. `os._exit` does not come here.
        activity.stopping()


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before that.
        os._exit(1)
