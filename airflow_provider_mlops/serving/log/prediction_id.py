"""The id under which a prediction is logged and to which its label refers."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from functools import lru_cache

PATTERN = r"[0-9a-f]{32}(-[0-9]{1,9})?"
"""32 hexadecimal digits for the request; if it has several rows, followed by `-` and the row's position."""

_MODEL_DIGITS = slice(12, 18)
_RANDOM_DIGITS = 14
_DRAWN = 200
_chances: list[str] = []
"""Random digits that are not used yet. Drawing many at once is faster."""
_latest = 0
"""Milliseconds since 1970 of the latest id."""

_FORMAT = re.compile(PATTERN)


def new(model: str = "") -> str:
    """Return an id for a request: 12 hexadecimal digits of milliseconds since 1970, 6 of the model, 14 random ones.

    The time comes first, as in a UUID of version 7, so that ids sort by the time of the request. Ids of the same
    millisecond have no order. If the clock is set back, ids keep the latest time until it is reached again, and have
    no order until then.

    The digits of the model say whether a client may label the prediction, without looking for it; see `other_model`.

    Parameters
    ----------
    model
        Name of the model.
    """
    global _latest
    try:
        chance = _chances.pop()
    except IndexError:
        drawn = secrets.token_hex(_RANDOM_DIGITS // 2 * _DRAWN)
        places = range(_RANDOM_DIGITS, len(drawn), _RANDOM_DIGITS)
        _chances.extend(drawn[place : place + _RANDOM_DIGITS] for place in places)
        chance = drawn[:_RANDOM_DIGITS]
    now = time.time_ns() // 1_000_000
    if now > _latest:
        _latest = now
    return f"{_latest:012x}{_digits_of(model)}{chance}"


def other_model(names: Iterable[str], models: Iterable[str]) -> str | None:
    """Return the first id that belongs to none of these models; None if there is none.

    Anyone can make up an id with the digits of a model, but it is then not the id of another model's prediction.

    >>> own, strange = new("churn"), new("fraud")
    >>> other_model([own, f"{own}-1"], ["churn"]), other_model([own, strange], ["churn"]) == strange
    (None, True)
    """
    known = {_digits_of(model) for model in models}
    return next((name for name in names if name[_MODEL_DIGITS] not in known), None)


@lru_cache(maxsize=10_000)
def _digits_of(model: str) -> str:
    return hashlib.blake2b(model.encode(errors="surrogatepass"), digest_size=3).hexdigest()


def of_rows(request_id: str, rows: int) -> list[str]:
    """Return the ids of the single predictions of a request.

    >>> of_rows("0" * 32, 1) == ["0" * 32]
    True
    >>> [name[-3:] for name in of_rows("0" * 32, 3)]
    ['0-0', '0-1', '0-2']
    """
    return [request_id] if rows == 1 else [f"{request_id}-{row}" for row in range(rows)]


WHOLE_REQUEST = -1
"""The row in an id that names none, because its request has a single row."""


def split(name: str) -> tuple[bytes, int] | None:
    """Return the 16 bytes of the request's id and the row; None if no prediction can have this id.

    >>> split("61" * 16), split("61" * 16 + "-2"), split("61" * 16 + "-02")
    ((b'aaaaaaaaaaaaaaaa', -1), (b'aaaaaaaaaaaaaaaa', 2), None)
    """
    if not is_valid(name):
        return None
    request, dash, place = name.partition("-")
    if dash and place != str(int(place)):
        return None
    return bytes.fromhex(request), int(place) if dash else WHOLE_REQUEST


def milliseconds(request_id: bytes) -> int:
    """Return the time of a request, in milliseconds since 1970, from the bytes of its id."""
    return int.from_bytes(request_id[:6])


def row_of(place: int, rows: int) -> int | None:
    """Return the row that an id refers to in a request with `rows` rows; None if it refers to none of them.

    >>> row_of(2, 3), row_of(3, 3), row_of(WHOLE_REQUEST, 3), row_of(WHOLE_REQUEST, 1), row_of(0, 1)
    (2, None, None, 0, None)
    """
    if place == WHOLE_REQUEST:
        return 0 if rows == 1 else None
    return place if rows > 1 and place < rows else None


def is_valid(text: str) -> bool:
    """Return whether `text` has the form of an id. Whether the prediction exists is not checked.

    >>> is_valid("0190a5d3c1f2" + "0" * 20), is_valid("order-17")
    (True, False)
    """
    return _FORMAT.fullmatch(text) is not None
