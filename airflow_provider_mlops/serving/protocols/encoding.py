"""Encodes and decodes JSON: fast for usual content, and as lenient as Python's own parser for the rest."""

from __future__ import annotations

import json
from typing import Any

import orjson

from airflow_provider_mlops.serving.rows.request_error import RequestError


def decode(body: bytes) -> Any:
    """Return the content of a JSON body. Raises RequestError (400).

    Bodies that the fast parser rejects are decoded with Python's parser. NaN, infinity, huge integers and lone
    surrogates are not valid JSON, but the validation of the rows can then say which column contains them.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return decode_exactly(body)


def decode_exactly(body: bytes) -> Any:
    """Return the content of a JSON body, with integers of any length unchanged. Raises RequestError (400)."""
    try:
        return json.loads(body)
    except RecursionError:
        raise RequestError(400, "The body is nested too deeply.") from None
    except ValueError as error:
        raise RequestError(400, f"The body is not valid JSON: {error}."[:300]) from None


def encode(content: Any) -> bytes:
    """Return the content as JSON in UTF-8. NumPy values are allowed; NaN and infinity become null.

    Examples
    --------
    >>> encode({"id": "é", "data": [1, float("nan")]}).decode()
    '{"id":"é","data":[1,null]}'
    """
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
