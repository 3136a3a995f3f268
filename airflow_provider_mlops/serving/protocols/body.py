"""Reads the body of a request: bounded in size, and of a type that is understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Receive

from airflow_provider_mlops.serving.rows.request_error import RequestError

HEADER_LENGTH = b"inference-header-content-length"
_JSON = b"application/json"


@dataclass(slots=True)
class Body:
    """What came: JSON in the first `json_bytes`, and tensors in binary after it; None where all of it is JSON."""

    content: bytes
    json_bytes: int | None = None


async def read(headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    """The whole body, which must be JSON. Raises RequestError: 413 if it is too large, 415 if it is no JSON, 408, 400."""
    _check_json(headers)
    return await _read(headers, receive, max_bytes)


async def read_tensors(headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> Body:
    """The whole body, which may have binary tensors after its JSON, if a header says so. Raises RequestError as `read`."""
    declared = headers.get(HEADER_LENGTH)
    if declared is None:
        return Body(await read(headers, receive, max_bytes))
    if not declared.isdigit() or len(declared) > 15:
        raise RequestError(
            400, f"the length of the JSON must be a number, not {declared[:50]!r}", "Inference-Header-Content-Length"
        )
    _check_encoding(headers)
    content = await _read(headers, receive, max_bytes)
    length = int(declared)
    if length > len(content):
        raise RequestError(
            400,
            f"the JSON is said to have {length} bytes, and all has {len(content)}",
            "Inference-Header-Content-Length",
        )
    return Body(content, length)


async def _read(headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    message = await receive()
    content: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts = [content]
        size = len(content)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > max_bytes:
                raise _too_large(max_bytes)
        content = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise RequestError(408, "the connection was closed before the body had come")
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _check_json(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", _JSON)
    if content_type != _JSON:
        kind = content_type.partition(b";")[0].strip().lower()
        if kind != _JSON and not kind.endswith(b"+json"):
            shown = kind[:100].decode("latin-1")
            raise RequestError(415, f"the body must be application/json, not {shown}", "Content-Type")
    _check_encoding(headers)


def _check_encoding(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RequestError(415, "the body must not be compressed", "Content-Encoding")


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body is larger than {max_bytes} bytes: send fewer rows", Connection="close")
