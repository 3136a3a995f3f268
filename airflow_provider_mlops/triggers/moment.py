"""Times as fields give them."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_mlops.errors import InvalidSpecError


def aware(moment: datetime) -> datetime:
    """The time with its zone: UTC where it has none."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def parse(field: str, text: str | None) -> datetime | None:
    """An ISO 8601 time. Raises InvalidSpecError, which names the field."""
    if text is None:
        return None
    try:
        return aware(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidSpecError(field, text, "write an ISO 8601 time, e.g. '2026-01-31T06:00:00+00:00'") from None
