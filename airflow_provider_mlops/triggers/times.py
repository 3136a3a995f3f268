"""Times as users write them in fields."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.errors import InvalidSpecError


def parse_time(field: str, text: str | None) -> datetime | None:
    """Parse an ISO 8601 time. Raises InvalidSpecError, which names the field."""
    if text is None:
        return None
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidSpecError(
            field, text, "it must be an ISO 8601 time, for example '2026-01-31T06:00:00+00:00'"
        ) from None
