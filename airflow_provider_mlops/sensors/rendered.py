"""Fields of sensors after their templates have been rendered, which makes text of them."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_mlops.errors import InvalidSpecError


def whole(field: str, value: int | str | None, hint: str) -> int | None:
    """A whole number; None where nothing is given. Raises InvalidSpecError.

    >>> whole("version", "3", "give the number of a version"), whole("version", "None", "")
    (3, None)
    """
    if value in (None, "", "None"):
        return None
    try:
        return int(value)
    except ValueError:
        raise InvalidSpecError(field, value, hint) from None


def moment(value: str | datetime | None) -> str | None:
    """A time as ISO 8601; None where nothing is given."""
    if isinstance(value, datetime):
        return value.isoformat()
    return given(value)


def given(value: str | None) -> str | None:
    """Text; None where nothing is given.

    >>> given("f00d"), given("None"), given("")
    ('f00d', None, None)
    """
    return None if value in (None, "", "None") else value
