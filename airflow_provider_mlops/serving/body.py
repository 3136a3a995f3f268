"""Reads the body of a request as JSON: bounded in size and in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from airflow_provider_mlops.serving.refusal import Refusal

MAXIMUM_BYTES = 16 * 1024 * 1024
_SECONDS = 30.0


async def read(request: Request, maximum_bytes: int) -> bytes:
    """The whole body. Raises Refusal: 413 if it is too large, 415 if it is no JSON, 408 if it does not come."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Refusal(415, f"the body must be application/json, not {content_type[:100]}", "Content-Type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "the body must not be compressed", "Content-Encoding")
    too_large = Refusal(413, f"the body is larger than {maximum_bytes} bytes: send fewer rows", Connection="close")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > maximum_bytes:
        raise too_large
    parts = []
    size = 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > maximum_bytes:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {_SECONDS:.0f} seconds", Connection="close") from None
    except ClientDisconnect:
        raise Refusal(400, "the connection was closed before the body had come") from None
    return b"".join(parts)


def parse(body: bytes) -> Any:
    """The body's content. Raises Refusal (400)."""
    try:
        return json.loads(body)
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Refusal(400, f"the body is not valid JSON: {error}"[:300]) from None
