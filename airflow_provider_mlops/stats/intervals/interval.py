"""A confidence interval: its two ends."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """The two ends of a confidence interval.

    >>> low, high = Interval(0.1, 0.3)
    """

    low: float
    high: float
