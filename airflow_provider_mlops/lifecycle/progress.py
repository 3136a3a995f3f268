"""Log messages about the progress of long work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_SECONDS = 10.0


class Progress:
    """A log that lets a message about progress through at most every ten seconds.

    Parameters
    ----------
    log
        Logger of the step.
    clock
        Function that returns the time in seconds.

    Examples
    --------
    >>> progress = Progress(logging.getLogger(__name__))
    >>> progress.report("%d of %d columns checked", 1, 2)
    False
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._started = self._reported = clock()

    @property
    def seconds(self) -> float:
        """Seconds since the work started."""
        return self._clock() - self._started

    def report(self, message: str, *arguments: object) -> bool:
        """Log a message if ten seconds have passed since the last one, and return whether it was logged."""
        now = self._clock()
        if now - self._reported < _SECONDS:
            return False
        self._reported = now
        self._log.info(message, *arguments)
        return True
