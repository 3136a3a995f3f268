"""Runs copies of requests off the response path: whatever a shadow does, no caller waits for it or sees it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

Log = Callable[[], None]
_MOST_HUNG = 3


@dataclass
class _Lot:
    run: Callable[[], Log]
    failed: Callable[[str], None]
    count: int
    began: float = 0.0


class ShadowQueue:
    """Lots of copies that wait for one thread, up to a bound.

    A lot that is not answered in time is given up: it counts as failed, and its thread, which may never come back, is
    replaced. After three such threads no more copies are taken, since each keeps its memory and its share of the CPU.

    :ivar dropped: how many copies were not taken.
    """

    def __init__(self, maximum_waiting: int, timeout_seconds: float) -> None:
        self._maximum = maximum_waiting
        self._timeout = timeout_seconds
        self._guard = threading.Condition()
        self._waiting: deque[_Lot] = deque()
        self._at_work: _Lot | None = None
        self._hung = 0
        self._closed = False
        self.dropped = 0
        self._start()

    def offer(self, run: Callable[[], Log], failed: Callable[[str], None], count: int = 1) -> bool:
        """Take a lot of copies, unless too many wait. Returns at once.

        :param run: predicts, and returns what logs the answers; that is called only if they came in time.
        :param failed: logs that there are no answers, and why.
        :param count: how many copies there are in the lot.
        """
        self.check()
        with self._guard:
            waiting = sum(lot.count for lot in self._waiting)
            if self._closed or self._hung >= _MOST_HUNG or waiting + count > self._maximum:
                self.dropped += count
                return False
            self._waiting.append(_Lot(run, failed, count))
            self._guard.notify()
        return True

    def check(self) -> None:
        """Give up the lot that is at work if its time is over. To be called now and then."""
        with self._guard:
            lot = self._at_work
            if lot is None or time.monotonic() - lot.began < self._timeout:
                return
            self._at_work = None
            self._hung += 1
            if self._hung < _MOST_HUNG:
                self._start()
            else:
                log.error("%d shadow threads have not come back: no more copies are taken", self._hung)
                self.dropped += sum(lot.count for lot in self._waiting)
                self._waiting.clear()
        _quietly(lambda: lot.failed(f"no answer within {self._timeout:g} seconds"))

    def close(self) -> None:
        """Drop what waits, and take nothing any more. A lot at work is left to end by itself."""
        with self._guard:
            self._closed = True
            self._waiting.clear()
            self._guard.notify_all()

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
                lot.began = time.monotonic()
                self._at_work = lot
            note: Log
            try:
                note = lot.run()
            except BaseException as error:
                reason = f"{type(error).__name__}: {error}"

                def note(lot: _Lot = lot, reason: str = reason) -> None:
                    lot.failed(reason)

            with self._guard:
                if self._at_work is not lot:
                    # Given up meanwhile: another thread has taken over.
                    return
                self._at_work = None
            _quietly(note)


def _quietly(note: Log) -> None:
    try:
        note()
    except Exception as error:
        log.error("A shadow's answer is not logged: %s", error)
