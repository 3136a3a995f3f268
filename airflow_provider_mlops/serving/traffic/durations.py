"""A histogram of durations in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import TypedDict

_STEP = math.log(1.01)
_MIN_SECONDS = 1e-6


class Milliseconds(TypedDict):
    """Quantiles and the maximum of durations, in milliseconds."""

    median: float
    p90: float
    p99: float
    worst: float


class Durations:
    """A histogram of durations whose cells are each 1% wider than the previous one.

    >>> durations = Durations()
    >>> for milliseconds in range(1, 101):
    ...     durations.add(milliseconds / 1000)
    >>> len(durations), round(durations.quantile(0.5), 3), durations.worst
    (100, 0.05, 0.1)
    """

    def __init__(self) -> None:
        self._cells: Counter[int] = Counter()
        self._count = 0
        self.worst = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, seconds: float) -> None:
        """Count a duration. Durations below one microsecond count as one."""
        self._cells[int(math.log(max(seconds, _MIN_SECONDS) / _MIN_SECONDS) / _STEP)] += 1
        self._count += 1
        self.worst = max(self.worst, seconds)

    def quantile(self, probability: float) -> float:
        """Return a quantile in seconds, accurate to 1%; 0 if there are no durations."""
        rank = probability * self._count
        cumulative = 0
        for cell, count in sorted(self._cells.items()):
            cumulative += count
            if cumulative >= rank:
                return min(self.worst, _MIN_SECONDS * math.exp((cell + 0.5) * _STEP))
        return 0.0

    def milliseconds(self) -> Milliseconds:
        """Return the median, the 90th and 99th percentiles, and the maximum in milliseconds."""
        return {
            "median": round(1000 * self.quantile(0.5), 3),
            "p90": round(1000 * self.quantile(0.9), 3),
            "p99": round(1000 * self.quantile(0.99), 3),
            "worst": round(1000 * self.worst, 3),
        }
