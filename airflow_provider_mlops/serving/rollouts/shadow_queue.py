"""A queue that runs copies of requests off the response path, so that no caller waits for a shadow."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from airflow_provider_mlops.errors import describe_error

log = logging.getLogger(__name__)

WriteLog = Callable[[], None]

Outcome = Literal["answered", "failed", "timed_out", "dropped", "hung", "ended", "unlogged"]
"""The outcome of a copy. `answered`, `failed` and `timed_out` are logged; with the others, the copy is lost.

A copy is `dropped` if too many are waiting, `hung` if the shadow has hung too often, `ended` if the rollout is over,
and `unlogged` if the write-ahead log cannot be written.
"""

_MAX_HUNG = 3


class Batch(Protocol):
    """Copies that the shadow answers together."""

    @property
    def count(self) -> int:
        """Number of copies."""

    def run(self) -> WriteLog:
        """Predict, and return a function that logs the answers. It is called only if they came in time."""

    def failed(self, outcome: Outcome, reason: str) -> None:
        """Log that there are no answers, and why."""

    def lost(self, outcome: Outcome) -> None:
        """Count the copies as never answered."""


class ShadowQueue:
    """Batches of copies that wait for one thread, up to a maximum.

    A batch that is not answered in time counts as failed, and its thread, which may never return, is replaced. After
    three such threads, the queue takes no more copies, because each thread keeps its memory and its share of the CPU.

    Parameters
    ----------
    max_waiting
        Maximum number of copies that wait.
    timeout_seconds
        Time that a batch may take.
    """

    def __init__(self, max_waiting: int, timeout_seconds: float) -> None:
        self._max_waiting = max_waiting
        self._timeout = timeout_seconds
        self._guard = threading.Condition()
        self._waiting: deque[Batch] = deque()
        self._running: tuple[Batch, float] | None = None
        self._hung = 0
        self._closed = False
        self._start()

    def offer(self, batch: Batch) -> None:
        """Take a batch of copies without waiting; if too many are waiting, the batch is lost."""
        self.check()
        with self._guard:
            outcome = self._reason_to_refuse(batch.count)
            if outcome is None:
                self._waiting.append(batch)
                self._guard.notify()
        if outcome is not None:
            batch.lost(outcome)

    def check(self) -> bool:
        """Give up the running batch if its time is over, and return whether a batch is running. Call it regularly."""
        with self._guard:
            if self._running is None:
                return False
            batch, began = self._running
            if time.monotonic() - began < self._timeout:
                return True
            self._running = None
            self._hung += 1
            lost: list[Batch] = []
            if self._hung < _MAX_HUNG:
                self._start()
            else:
                log.error(
                    "Stopped copying requests: the shadow did not answer within %g s, %d times. Check the candidate, "
                    "and roll it back if it hangs",
                    self._timeout,
                    self._hung,
                )
                lost = self._take_waiting()
        _log_quietly(lambda: batch.failed("timed_out", f"no answer within {self._timeout:g} seconds"))
        for waiting in lost:
            waiting.lost("hung")
        return False

    def close(self) -> None:
        """Drop the waiting batches and take no more. A running batch is left to finish on its own."""
        with self._guard:
            self._closed = True
            lost = self._take_waiting()
            self._guard.notify_all()
        for batch in lost:
            batch.lost("ended")

    def _reason_to_refuse(self, count: int) -> Outcome | None:
        if self._closed:
            return "ended"
        if self._hung >= _MAX_HUNG:
            return "hung"
        return "dropped" if sum(batch.count for batch in self._waiting) + count > self._max_waiting else None

    def _take_waiting(self) -> list[Batch]:
        batches = list(self._waiting)
        self._waiting.clear()
        return batches

    def _start(self) -> None:
        threading.Thread(target=self._run, name="shadow", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._guard:
                while not self._waiting:
                    if self._closed:
                        return
                    self._guard.wait()
                batch = self._waiting.popleft()
                mine = self._running = (batch, time.monotonic())
            write_log: WriteLog
            try:
                write_log = batch.run()
            except BaseException as error:
                reason = describe_error(error)
                write_log = partial(batch.failed, "failed", reason)
            with self._guard:
                if self._running is not mine:
                    # The batch was given up, and another thread has taken over.
                    return
                self._running = None
            _log_quietly(write_log)


def _log_quietly(write_log: WriteLog) -> None:
    try:
        write_log()
    except Exception as error:
        log.error(
            "Could not write the predictions of a shadow to the prediction log: %s. Check the disk of the gateway",
            error,
        )
