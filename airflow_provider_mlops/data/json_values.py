"""Python and NumPy values as the types that JSON has."""

from __future__ import annotations

import base64
from datetime import date, time
from decimal import Decimal
from typing import Any


def json_value(value: Any) -> Any:
    """Return the value in a type that JSON has, or unchanged if its type is unknown.

    Missing values (None, NaN, NaT, pandas.NA) become None, decimals floats, bytes Base64 text, dates and times
    ISO 8601 text, and NumPy scalars the corresponding Python values.

    >>> from datetime import datetime
    >>> [json_value(value) for value in (True, Decimal("1.5"), b"ab", datetime(2026, 1, 1), float("nan"))]
    [True, 1.5, 'YWI=', '2026-01-01T00:00:00', None]
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if type(value).__name__ == "NAType":
        return None
    if isinstance(value, float | Decimal):
        return float(value) if value == value else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date | time):
        # NaT is a date that differs from itself.
        return value.isoformat() if value == value else None
    return json_value(value.item()) if hasattr(value, "item") else value


def json_value_or_text(value: Any) -> Any:
    """Return `json_value`, with values of unknown types as text. It can serve as `default` of a JSON encoder.

    >>> from uuid import UUID
    >>> json_value_or_text(UUID(int=1))
    '00000000-0000-0000-0000-000000000001'
    """
    converted = json_value(value)
    return converted if converted is None or isinstance(converted, bool | int | float | str) else str(converted)
