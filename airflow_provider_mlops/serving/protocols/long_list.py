"""Decodes a long JSON list entry by entry.

The usual parsers read a body in one step, during which no other thread runs. For a body of 12 MB, that is long enough
for every prediction to notice.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from airflow_provider_mlops.serving.rows.request_error import RequestError

_SPACE = re.compile(r"[ \t\n\r]*")
_WINDOW = 256 * 1024
"""Length of an entry at most, in characters."""
_PAUSE_EVERY = 200

_scan = json.JSONDecoder().raw_decode


def entries(body: bytes, field: str) -> Iterator[Any]:
    """Yield the entries of a list that is the only field of a JSON object, and let other threads run in between.

    Raises RequestError (400) if the body is anything else, after the valid entries before the mistake.

    >>> list(entries(b'{"feedback": [{"label": 1}, 2]}', "feedback"))
    [{'label': 1}, 2]
    """
    try:
        text = body.decode(json.detect_encoding(body))
    except UnicodeDecodeError as error:
        raise RequestError(400, f"The body is not valid JSON: {error}."[:300]) from None
    start = re.compile(rf'[ \t\n\r]*\{{[ \t\n\r]*"{field}"[ \t\n\r]*:[ \t\n\r]*\[').match(text)
    if start is None:
        raise RequestError(400, f"A large body must be an object with the list {field} as its only field.", field)
    position = _skip(text, start.end())
    if text[position : position + 1] == "]":
        raise RequestError(400, f"{field} must be a non-empty list and the only field of the body.", field)
    count = 0
    offset, window = position, text[position : position + _WINDOW]
    while True:
        try:
            entry, end = _scan(window, position - offset)
        except RecursionError:
            raise RequestError(400, "The body is nested too deeply.") from None
        except ValueError:
            if position > offset:
                # The entry may continue after the window.
                offset, window = position, text[position : position + _WINDOW]
                continue
            raise _invalid(field, count) from None
        yield entry
        count += 1
        if count % _PAUSE_EVERY == 0:
            time.sleep(0)
        position = _skip(text, offset + end)
        separator = text[position : position + 1]
        if separator == "]":
            break
        if separator != ",":
            raise _invalid(field, count)
        position = _skip(text, position + 1)
        if position >= offset + len(window):
            offset, window = position, text[position : position + _WINDOW]
    position = _skip(text, position + 1)
    if text[position : position + 1] == ",":
        raise RequestError(400, f"{field} must be a non-empty list and the only field of the body.", field)
    if text[position : position + 1] != "}" or _skip(text, position + 1) != len(text):
        raise RequestError(400, f"The body is not valid JSON after the list {field}.", field)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _invalid(field: str, count: int) -> RequestError:
    return RequestError(
        400,
        f"The body is not valid JSON at {field}[{count}], or this entry has more than {_WINDOW:,} characters.",
        field,
    )
