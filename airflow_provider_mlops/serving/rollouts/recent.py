"""Requests and errors within a sliding window of seconds, in this process and in the store."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

_MOST_UNLIKELY = 1e-4


class RecentErrors:
    """Requests and errors of one arm within a sliding window, counted per second. Safe to use from many threads.

    >>> recent = RecentErrors(60, clock=lambda: 0.0)
    >>> recent.count(failed=False), recent.count(failed=True)
    ((1, 0), (2, 1))
    """

    def __init__(self, window_seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window_seconds
        self._clock = clock
        self._guard = threading.Lock()
        # Second, requests, errors: oldest first.
        self._seconds: deque[list[int]] = deque()
        self._requests = self._errors = 0

    def count(self, failed: bool) -> tuple[int, int]:
        """Count one request, and return the requests and the errors within the window."""
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

    def totals(self) -> tuple[int, int]:
        """Return the requests and the errors within the window."""
        oldest = int(self._clock()) - self._window
        with self._guard:
            parts = [(requests, errors) for second, requests, errors in self._seconds if second > oldest]
        return sum(requests for requests, _ in parts), sum(errors for _, errors in parts)


class RecentTotals:
    """Requests and errors of one arm within a sliding window, computed from totals that are read now and then."""

    def __init__(self, window_seconds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window_seconds
        self._clock = clock
        # Time, requests, errors: oldest first.
        self._readings: deque[tuple[float, int, int]] = deque()

    def update(self, requests: int, errors: int) -> tuple[int, int]:
        """Take the current totals, and return how much they have grown within the window since the first reading.

        >>> totals = RecentTotals(60, clock=lambda: 0.0)
        >>> totals.update(100, 50), totals.update(130, 55)
        ((0, 0), (30, 5))
        """
        now = self._clock()
        # Growth within the window starts at the last reading before it.
        while len(self._readings) > 1 and self._readings[1][0] <= now - self._window:
            self._readings.popleft()
        self._readings.append((now, requests, errors))
        _, requests_then, errors_then = self._readings[0]
        return requests - requests_then, errors - errors_then


def fails_like_champion(candidate: tuple[int, int], champion: tuple[int, int]) -> bool:
    """Return whether the champion fails too, and about as often: then a shared outage explains the errors.

    Given the errors of both, those of the candidate follow a hypergeometric distribution if both versions fail equally
    often (Fisher 1935, *The logic of inductive inference*). The champion is believed to fail as often unless errors of
    the candidate that are at least as many have a probability below 0.0001: the question is asked at every failure.

    Parameters
    ----------
    candidate, champion
        Requests and errors of each within the same window.

    Examples
    --------
    >>> fails_like_champion((20, 20), (20, 20)), fails_like_champion((20, 20), (380, 4))
    (True, False)
    """
    if not champion[1]:
        return False
    errors, requests = candidate[1] + champion[1], candidate[0] + champion[0]
    # Errors are summed from the most to the observed number, with logarithms of factorials.
    most = min(candidate[0], errors)

    def log_ways(total: int, chosen: int) -> float:
        return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)

    all_ways, probability = log_ways(requests, errors), 0.0
    for own in range(candidate[1], most + 1):
        if errors - own <= champion[0]:
            probability += math.exp(log_ways(candidate[0], own) + log_ways(champion[0], errors - own) - all_ways)
            if probability >= _MOST_UNLIKELY:
                return True
    return False
