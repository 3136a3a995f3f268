"""Backoff for versions that cannot be loaded: the gateway tries them again, at growing intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0

Key = tuple[str, int]
"""Name of a model, and a version."""


@dataclass(frozen=True)
class _Failure:
    reason: str
    pause: float
    until: float


class LoadBackoff:
    """The versions that could not be loaded. The delay before the next try is one second and doubles up to one minute.

    >>> now = [0.0]
    >>> attempts = LoadBackoff(clock=lambda: now[0])
    >>> attempts.failed(("churn", 2), "no such file"), attempts.failed(("churn", 2), "no such file")
    (True, False)
    >>> attempts.is_due(("churn", 2)), attempts.is_due(("churn", 3))
    (False, True)
    >>> now[0] = 2.0
    >>> attempts.is_due(("churn", 2)), attempts.reason(("churn", 2))
    (True, 'no such file')
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[Key, _Failure] = {}

    def is_due(self, key: Key) -> bool:
        """Return whether to try a version now."""
        failure = self._failures.get(key)
        return failure is None or self._clock() >= failure.until

    def failed(self, key: Key, reason: str) -> bool:
        """Store why a version could not be loaded, and return whether the reason is new."""
        before = self._failures.get(key)
        pause = FIRST_SECONDS if before is None else min(2 * before.pause, LONGEST_SECONDS)
        self._failures[key] = _Failure(reason, pause, self._clock() + pause)
        return before is None or before.reason != reason

    def succeeded(self, key: Key) -> None:
        """Forget the failures of a version."""
        self._failures.pop(key, None)

    def reason(self, key: Key) -> str | None:
        """Return why the last try to load a version failed; None if it did not fail."""
        failure = self._failures.get(key)
        return None if failure is None else failure.reason
