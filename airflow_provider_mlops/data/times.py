"""Times in UTC, and durations in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def as_utc(moment: datetime) -> datetime:
    """Return the time in UTC. A time without a time zone is taken to be in UTC.

    >>> from datetime import timezone
    >>> as_utc(datetime(2026, 1, 1, 12)).isoformat()
    '2026-01-01T12:00:00+00:00'
    >>> as_utc(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))).isoformat()
    '2026-01-01T10:00:00+00:00'
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
