"""Runs copies of requests off the response path: whatever a shadow does, no caller waits for it or sees it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

log = logging.getLogger(__name__)

WriteLog = Callable[[], None]

Outcome = Literal["answered", "failed", "timed_out", "dropped", "hung", "ended", "unlogged"]
"""What comes of a copy: the shadow answers, fails or takes too long, each of which is logged; or the copy is lost.

It is `dropped` where too many wait, lost to a shadow that has `hung` too often, too late for a rollout that has
`ended`, or `unlogged` where the write-ahead log cannot be written.
"""

_MOST_HUNG = 3


class Batch(Protocol):
    """Copies that go through the shadow together."""

    @property
    def count(self) -> int:
        """How many there are."""

    def run(self) -> WriteLog:
        """Predict. Returns what logs the answers; that is called only if they came in time."""

    def failed(self, outcome: Outcome, reason: str) -> None:
        """Log that there are no answers, and why."""

    def lost(self, outcome: Outcome) -> None:
        """Count that the shadow was never asked."""


class ShadowQueue:
    """Lots of copies that wait for one thread, up to a bound.

    A lot that is not answered in time is given up: it counts as failed, and its thread, which may never come back, is
    replaced. After three such threads no more copies are taken, since each keeps its memory and its share of the CPU.
    """

    def __init__(self, max_waiting: int, timeout_seconds: float) -> None:
        self._maximum = max_waiting
        self._timeout = timeout_seconds
        self._guard = threading.Condition()
        self._waiting: deque[Batch] = deque()
        self._at_work: tuple[Batch, float] | None = None
        self._hung = 0
        self._closed = False
        self._start()

    def offer(self, lot: Batch) -> None:
        """Take a lot of copies, unless too many wait; then they are lost. Returns at once."""
        self.check()
        with self._guard:
            outcome = self._refusal(lot.count)
            if outcome is None:
                self._waiting.append(lot)
                self._guard.notify()
        if outcome is not None:
            lot.lost(outcome)

    def check(self) -> bool:
        """Give up the lot that is at work if its time is over. To be called now and then.

        Returns whether a lot is at work.
        """
        with self._guard:
            if self._at_work is None:
                return False
            lot, began = self._at_work
            if time.monotonic() - began < self._timeout:
                return True
            self._at_work = None
            self._hung += 1
            lost: list[Batch] = []
            if self._hung < _MOST_HUNG:
                self._start()
            else:
                log.error("%d shadow threads have not come back: no more copies are taken", self._hung)
                lost = self._empty()
        _quietly(lambda: lot.failed("timed_out", f"no answer within {self._timeout:g} seconds"))
        for left in lost:
            left.lost("hung")
        return False

    def close(self) -> None:
        """Drop what waits, and take nothing any more. A lot at work is left to end by itself."""
        with self._guard:
            self._closed = True
            lost = self._empty()
            self._guard.notify_all()
        for lot in lost:
            lot.lost("ended")

    def _refusal(self, count: int) -> Outcome | None:
        if self._closed:
            return "ended"
        if self._hung >= _MOST_HUNG:
            return "hung"
        return "dropped" if sum(lot.count for lot in self._waiting) + count > self._maximum else None

    def _empty(self) -> list[Batch]:
        left = list(self._waiting)
        self._waiting.clear()
        return left

    def _start(self) -> None:
        threading.Thread(target=self._work, name="shadow", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._guard:
                while not self._waiting:
                    if self._closed:
                        return
                    self._guard.wait()
                lot = self._waiting.popleft()
                mine = self._at_work = (lot, time.monotonic())
            note: WriteLog
            try:
                note = lot.run()
            except BaseException as error:
                reason = f"{type(error).__name__}: {error}"

                def note(lot: Batch = lot, reason: str = reason) -> None:
                    lot.failed("failed", reason)

            with self._guard:
                if self._at_work is not mine:
                    # Given up meanwhile: another thread has taken over.
                    return
                self._at_work = None
            _quietly(note)


def _quietly(note: WriteLog) -> None:
    try:
        note()
    except Exception as error:
        log.error("A shadow's answer is not logged: %s", error)
