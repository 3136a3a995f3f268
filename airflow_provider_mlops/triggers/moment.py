"""Times as fields give them."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.errors import InvalidSpecError


def parse(field: str, text: str | None) -> datetime | None:
    """An ISO 8601 time. Raises InvalidSpecError, which names the field."""
    if text is None:
        return None
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidSpecError(field, text, "write an ISO 8601 time, e.g. '2026-01-31T06:00:00+00:00'") from None
