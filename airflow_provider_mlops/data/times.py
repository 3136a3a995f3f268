"""Times in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def as_utc(moment: datetime) -> datetime:
    """Return the time in UTC. A time without a time zone is taken to be in UTC.

    >>> from datetime import timedelta, timezone
    >>> as_utc(datetime(2026, 1, 1, 12)).isoformat()
    '2026-01-01T12:00:00+00:00'
    >>> as_utc(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))).isoformat()
    '2026-01-01T10:00:00+00:00'
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
