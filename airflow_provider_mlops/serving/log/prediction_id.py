"""The id under which a prediction is logged and to which its label refers."""

from __future__ import annotations

import re
import secrets
import time

PATTERN = r"[0-9a-f]{32}(-[0-9]{1,9})?"
"""32 hexadecimal digits for the request; if it has several rows, followed by `-` and the row's position."""

_DRAWN = 200
_chances: list[str] = []
"""Random digits that are not used yet. Drawing many at once is faster."""

_FORMAT = re.compile(PATTERN)


def new() -> str:
    """Return an id for a request: 12 hexadecimal digits of milliseconds since 1970, then 20 random ones.

    The time comes first, as in a UUID of version 7, so that ids sort by the time of the request.
    """
    try:
        chance = _chances.pop()
    except IndexError:
        drawn = secrets.token_hex(10 * _DRAWN)
        _chances.extend(drawn[place : place + 20] for place in range(20, len(drawn), 20))
        chance = drawn[:20]
    return f"{time.time_ns() // 1_000_000:012x}{chance}"


def of_rows(request_id: str, rows: int) -> list[str]:
    """Return the ids of the single predictions of a request.

    >>> of_rows("0" * 32, 1) == ["0" * 32]
    True
    >>> [name[-3:] for name in of_rows("0" * 32, 3)]
    ['0-0', '0-1', '0-2']
    """
    return [request_id] if rows == 1 else [f"{request_id}-{row}" for row in range(rows)]


def row(name: str, rows: int) -> int | None:
    """Return the row that an id refers to in a request with `rows` rows; None if it refers to none of them.

    >>> [row("0" * 32 + end, 3) for end in ("-2", "-3", "-02", "")], row("0" * 32, 1), row("0" * 32 + "-0", 1)
    ([2, None, None, None], 0, None)
    """
    _, dash, place = name.partition("-")
    if not dash:
        return 0 if rows == 1 else None
    position = int(place)
    return position if rows > 1 and position < rows and place == str(position) else None


def is_valid(text: str) -> bool:
    """Return whether `text` has the form of an id. Whether the prediction exists is not checked.

    >>> is_valid("0190a5d3c1f2" + "0" * 20), is_valid("order-17")
    (True, False)
    """
    return _FORMAT.fullmatch(text) is not None
