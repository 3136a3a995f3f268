"""Times as users write them in fields."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_mlops.errors import InvalidSpecError


def with_zone(time: datetime) -> datetime:
    """Return the time with its zone, which is UTC if it has none."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def parse_time(field: str, text: str | None) -> datetime | None:
    """Parse an ISO 8601 time. Raises InvalidSpecError, which names the field."""
    if text is None:
        return None
    try:
        return with_zone(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidSpecError(
            field, text, "it must be an ISO 8601 time, for example '2026-01-31T06:00:00+00:00'"
        ) from None
