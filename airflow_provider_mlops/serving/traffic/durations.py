"""Durations in bounded memory, however many there are."""

from __future__ import annotations

import math
from collections import Counter

_STEP = math.log(1.01)
_LEAST = 1e-6


class Durations:
    """Counts durations in cells of which each is 1% wider than the one before.

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
        """Count one. What is below a microsecond counts as that."""
        self._cells[int(math.log(max(seconds, _LEAST) / _LEAST) / _STEP)] += 1
        self._count += 1
        self.worst = max(self.worst, seconds)

    def quantile(self, share: float) -> float:
        """The seconds that a share of them did not exceed, to 1%; 0 where there are none."""
        wanted = share * self._count
        passed = 0
        for cell, count in sorted(self._cells.items()):
            passed += count
            if passed >= wanted:
                return min(self.worst, _LEAST * math.exp((cell + 0.5) * _STEP))
        return 0.0

    def milliseconds(self) -> dict[str, float]:
        """Median, 90%, 99% and the worst, in milliseconds."""
        found = {name: self.quantile(share) for name, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99))}
        return {name: round(1000 * value, 3) for name, value in {**found, "worst": self.worst}.items()}
