"""What happened within the last seconds: requests and errors, in this process and in the store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class RecentErrors:
    """Requests and errors of one arm within a sliding window, counted by the second. Safe to use from many threads."""

    def __init__(self, window_seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window_seconds
        self._clock = clock
        self._guard = threading.Lock()
        # Second, requests, errors: oldest first.
        self._seconds: deque[list[int]] = deque()
        self._requests = self._errors = 0

    def count(self, failed: bool) -> tuple[int, int]:
        """Count one request. Returns the requests and the errors within the window."""
        second = int(self._clock())
        with self._guard:
            if not self._seconds or self._seconds[-1][0] != second:
                self._seconds.append([second, 0, 0])
                while self._seconds[0][0] <= second - self._window:
                    _, requests, errors = self._seconds.popleft()
                    self._requests -= requests
                    self._errors -= errors
            self._seconds[-1][1] += 1
            self._requests += 1
            if failed:
                self._seconds[-1][2] += 1
                self._errors += 1
            return self._requests, self._errors


class RecentTotals:
    """The same from totals that are looked at now and then."""

    def __init__(self, window_seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window_seconds
        self._clock = clock
        self._looks: deque[tuple[float, int, int]] = deque()

    def look(self, requests: int, errors: int) -> tuple[int, int]:
        """Take totals as they are now. Returns by how much they have grown within the window, since the first look.

        >>> totals = RecentTotals(60, clock=lambda: 0.0)
        >>> totals.look(100, 50), totals.look(130, 55)
        ((0, 0), (30, 5))
        """
        now = self._clock()
        # The last look before the window is where growth within it began.
        while len(self._looks) > 1 and self._looks[1][0] <= now - self._window:
            self._looks.popleft()
        self._looks.append((now, requests, errors))
        _, requests_then, errors_then = self._looks[0]
        return requests - requests_then, errors - errors_then
