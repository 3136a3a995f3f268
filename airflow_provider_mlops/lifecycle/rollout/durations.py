"""Durations in words, for reasons and questions."""

from __future__ import annotations

from datetime import timedelta

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def format_duration(duration: timedelta) -> str:
    """Return a duration in its two largest units, rounded up to whole seconds.

    >>> format_duration(timedelta(days=1)), format_duration(timedelta(minutes=90, seconds=5))
    ('1 day', '1 hour 30 minutes')
    >>> format_duration(timedelta(seconds=0.2))
    '1 second'
    """
    left = -(-duration // timedelta(seconds=1))
    parts = []
    for name, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count:,} {name}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"
