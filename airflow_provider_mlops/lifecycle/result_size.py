"""The size limit of results: lists and texts that would exceed it are shortened, and stored in full in a file.

Airflow stores a result twice, once as a whole and once per field, in addition to the addresses of the links. To keep a
task's XComs below 16 KB, the JSON of a result must stay below `RESULT_BYTES`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

RESULT_BYTES = 7_500
"""Largest size of a result as JSON, in bytes."""

_PUNCTUATION = 4
"""Bytes that JSON adds to each text in a list: quotes, comma and space."""


def shorten(text: str, length: int) -> str:
    """Shorten a text so that its JSON, without the quotes, takes at most `length` bytes.

    >>> shorten("income", 80), shorten("income", 5)
    ('income', 'in...')
    """
    if _length(text) <= length:
        return text
    while _length(text) > length - 3:
        text = text[:-1]
    return text + "..."


def first_that_fit(texts: Iterable[str], max_bytes: int, *, extra: int = 0) -> tuple[str, ...]:
    """Return the first texts, as many as fit into `max_bytes` of JSON.

    Parameters
    ----------
    texts
        The texts, the most important first.
    max_bytes
        Size of the JSON that they may take together.
    extra
        Bytes that each text takes in addition, for example those of a number stored with it.

    Examples
    --------
    >>> first_that_fit(["age", "income", "town"], 20)
    ('age', 'income')
    """
    kept: list[str] = []
    for text in texts:
        max_bytes -= _length(text) + _PUNCTUATION + extra
        if max_bytes < 0:
            break
        kept.append(text)
    return tuple(kept)


def _length(text: str) -> int:
    return len(json.dumps(text)) - 2
