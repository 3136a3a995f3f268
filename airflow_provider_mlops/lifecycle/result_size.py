"""Keeps results small whatever the data are called: what does not fit is left out, and lies in full in a file.

Airflow stores a result twice, once a field and once whole, beside the addresses of the links. So that a task's XComs
stay below 16 KB, a result stays below `RESULT_BYTES` of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

RESULT_BYTES = 7_500
"""How many bytes of JSON a result takes at most."""

_PUNCTUATION = 4
"""Quotes, comma and space, which a text in a list takes besides itself."""


def cut(text: str, length: int) -> str:
    """Text that takes at most so many bytes of JSON, quotes aside.

    >>> cut("income", 80), cut("income", 5)
    ('income', 'in...')
    """
    if _length(text) <= length:
        return text
    while _length(text) > length - 3:
        text = text[:-1]
    return text + "..."


def first(texts: Iterable[str], room: int, *, beside: int = 0) -> tuple[str, ...]:
    """As many of the texts, from the first, as fit into `room` bytes of JSON.

    :param beside: how many further bytes each one takes, such as those of the number that belongs to it.

    >>> first(["age", "income", "town"], 20)
    ('age', 'income')
    """
    kept: list[str] = []
    for text in texts:
        room -= _length(text) + _PUNCTUATION + beside
        if room < 0:
            break
        kept.append(text)
    return tuple(kept)


def _length(text: str) -> int:
    return len(json.dumps(text)) - 2
