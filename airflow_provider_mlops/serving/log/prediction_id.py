"""The id under which a prediction is logged and under which its label comes back."""

from __future__ import annotations

import re
import secrets
import time

PATTERN = r"[0-9a-f]{32}(-[0-9]{1,9})?"
"""32 hexadecimal digits for the request, and `-` and the row's position for one row of several."""

_DRAWN = 200
_chances: list[str] = []
"""What was drawn at random and is not used yet: the system is asked for many at once."""

_FORMAT = re.compile(PATTERN)


def new() -> str:
    """An id for a request: 12 hexadecimal digits of milliseconds since 1970, then 20 at random.

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
    """The ids of the single predictions of a request.

    >>> of_rows("0" * 32, 1) == ["0" * 32]
    True
    >>> [name[-3:] for name in of_rows("0" * 32, 3)]
    ['0-0', '0-1', '0-2']
    """
    return [request_id] if rows == 1 else [f"{request_id}-{row}" for row in range(rows)]


def row(name: str, rows: int) -> int | None:
    """Which row of a request of so many rows an id stands for; None where it is not the id of any.

    >>> [row("0" * 32 + end, 3) for end in ("-2", "-3", "-02", "")], row("0" * 32, 1), row("0" * 32 + "-0", 1)
    ([2, None, None, None], 0, None)
    """
    _, dash, place = name.partition("-")
    if not dash:
        return 0 if rows == 1 else None
    found = int(place)
    return found if rows > 1 and found < rows and place == str(found) else None


def is_valid(text: str) -> bool:
    """Whether `text` has the form of an id. Whether such a prediction was ever made is not looked up.

    >>> is_valid("0190a5d3c1f2" + "0" * 20), is_valid("order-17")
    (True, False)
    """
    return _FORMAT.fullmatch(text) is not None
