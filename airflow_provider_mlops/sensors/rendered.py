"""Conversion of rendered sensor fields, because a template renders to text."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from airflow.sdk import XComArg

from airflow_provider_mlops.errors import InvalidSpecError

Text: TypeAlias = str | XComArg
"""A string field as users write it: text, a template or the output of another task."""

Number: TypeAlias = int | str | XComArg
"""An integer field as users write it."""

Time: TypeAlias = str | datetime | XComArg
"""A time as users write it: a datetime, ISO 8601 or a template."""


def to_int(field: str, value: object, hint: str = "it must be an integer") -> int | None:
    """Return an integer, or None if there is no value. Raises InvalidSpecError.

    >>> to_int("version", "3"), to_int("version", "None")
    (3, None)
    """
    text = to_text(value)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidSpecError(field, value, hint) from None


def to_iso_time(value: object) -> str | None:
    """Return a time as ISO 8601, or None if there is no value."""
    return value.isoformat() if isinstance(value, datetime) else to_text(value)


def to_text(value: object) -> str | None:
    """Return text, or None if there is no value: a template without one renders to the text `None`.

    >>> to_text("f00d"), to_text("None"), to_text("")
    ('f00d', None, None)
    """
    return None if value is None or value in ("", "None") else str(value)


def require_text(field: str, value: object) -> str:
    """Return text. Raises InvalidSpecError if there is no value."""
    text = to_text(value)
    if text is None:
        raise InvalidSpecError(
            field,
            value,
            "it is required, but its template gave no value. Check the task or the parameter that the template "
            "refers to",
        )
    return text
