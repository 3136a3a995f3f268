"""JSON in and out, as fast as can be for what is usual, and as lenient as Python's own for what is not."""

from __future__ import annotations

import json
from typing import Any

import orjson

from airflow_provider_mlops.serving.rows.request_error import RequestError


def parse(body: bytes) -> Any:
    """The body's content. Raises RequestError (400).

    What the quick parser refuses is tried with Python's: NaN, infinity, whole numbers without end and half surrogate
    pairs are no JSON, but the check of the rows says in which column they are.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return parse_exactly(body)


def parse_exactly(body: bytes) -> Any:
    """The same with Python's parser, which keeps whole numbers of any length. Raises RequestError (400)."""
    try:
        return json.loads(body)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not valid JSON: {error}"[:300]) from None


def encode(content: Any) -> bytes:
    """JSON in UTF-8, of NumPy's arrays and numbers too. NaN and infinity, which JSON does not know, become null.

    >>> encode({"id": "é", "data": [1, float("nan")]}).decode()
    '{"id":"é","data":[1,null]}'
    """
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
