"""Log lines that may come once per request: the first is logged at once, its repetitions are counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from airflow_provider_mlops.data.names import pluralize

_SECONDS = 60.0
_MAX_KEYS = 1000


class RepeatedLog:
    """A logger that logs a message at once, and afterwards at most once a minute, with the number of repetitions.

    May be used from any thread.

    Parameters
    ----------
    log
        Logger of the module.
    clock
        Source of the time in seconds.

    Examples
    --------
    >>> log = logging.getLogger("example")
    >>> log.propagate = False
    >>> repeated = RepeatedLog(log, clock=iter([0.0, 1.0, 2.0, 61.0]).__next__)
    >>> [repeated.error("full", "The disk is full") for _ in range(4)]
    [True, False, False, True]
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        # When each message may be logged again, and how often it was held back.
        self._held: dict[object, tuple[float, int]] = {}

    def error(self, key: object, message: str, *arguments: object, exc_info: BaseException | None = None) -> bool:
        """Log an error, unless one with the same key was logged in the last minute. Returns whether it was logged."""
        return self._write(logging.ERROR, key, message, arguments, exc_info)

    def warning(self, key: object, message: str, *arguments: object) -> bool:
        """Log a warning, unless one with the same key was logged in the last minute. Returns whether it was logged."""
        return self._write(logging.WARNING, key, message, arguments, None)

    def _write(
        self, level: int, key: object, message: str, arguments: tuple[object, ...], exc_info: BaseException | None
    ) -> bool:
        now = self._clock()
        with self._lock:
            until, held = self._held.pop(key, (now, 0))
            is_due = now >= until
            if len(self._held) >= _MAX_KEYS:
                # The oldest key: dictionaries keep their order.
                del self._held[next(iter(self._held))]
            self._held[key] = (now + _SECONDS, 0) if is_due else (until, held + 1)
        if is_due:
            more = f" (and {pluralize(held, 'more time')} since it was last logged)" if held else ""
            self._log.log(level, message + "%s", *arguments, more, exc_info=exc_info)
        return is_due
