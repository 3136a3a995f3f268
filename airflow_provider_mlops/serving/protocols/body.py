"""Receives the body of a request, checks its size and content type, and decompresses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Receive

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.protocols import compression
from airflow_provider_mlops.serving.protocols.headers import JSON_LENGTH_HEADER
from airflow_provider_mlops.serving.protocols.memory_budget import Reservation
from airflow_provider_mlops.serving.rows.request_error import RequestError

_JSON_LENGTH = JSON_LENGTH_HEADER.lower().encode()
_JSON = b"application/json"
_CSV = b"text/csv"


@dataclass(slots=True)
class Body:
    """The body of a prediction request.

    Parameters
    ----------
    content
        All bytes.
    json_bytes
        Number of bytes of JSON at the start, which binary tensors follow; None if all of the body is JSON.
    is_csv
        Whether the body is CSV and not JSON.
    """

    content: bytes
    json_bytes: int | None = None
    is_csv: bool = False


async def receive_json(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, reservation: Reservation | None = None
) -> bytes:
    """Receive a body that must be JSON.

    Parameters
    ----------
    reservation
        Grows with the body: at once if its length is declared, otherwise as it arrives.

    Raises
    ------
    RequestError
        400 if it is compressed and damaged, 408 if the client disconnects, 413 if the body is too large, 415 if it is
        not JSON, 429 if there is no memory for it.
    """
    _check_json(headers)
    return await _receive(headers, receive, max_bytes, reservation)


async def receive_body(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, reservation: Reservation | None = None
) -> Body:
    """Receive a body that may be CSV, or have binary tensors after its JSON.

    Raises RequestError as `receive_json` does, and 400 if the header with the length of the JSON is invalid.
    """
    declared = headers.get(_JSON_LENGTH)
    if declared is None:
        if headers.get(b"content-type", _JSON)[: len(_CSV)].lower() == _CSV and _is_csv(headers):
            return Body(await _receive(headers, receive, max_bytes, reservation), is_csv=True)
        return Body(await receive_json(headers, receive, max_bytes, reservation))
    if not declared.isdigit() or len(declared) > 15:
        raise RequestError(
            400, f"{JSON_LENGTH_HEADER} must be a number of bytes, not {declared[:50]!r}.", JSON_LENGTH_HEADER
        )
    content = await _receive(headers, receive, max_bytes, reservation)
    length = int(declared)
    if length > len(content):
        raise RequestError(
            400,
            f"{JSON_LENGTH_HEADER} is {length}, but the body has only {pluralize(len(content), 'byte')}.",
            JSON_LENGTH_HEADER,
        )
    return Body(content, length)


async def _receive(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, reservation: Reservation | None
) -> bytes:
    """Receive a body and decompress it; neither form may be larger than `max_bytes`."""
    content = await _receive_bytes(headers, receive, max_bytes, reservation)
    encoding = headers.get(b"content-encoding")
    if encoding is None or not compression.is_compressed(encoding):
        return content
    return await compression.decompressed(content, max_bytes, reservation)


async def _receive_bytes(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, reservation: Reservation | None
) -> bytes:
    declared = headers.get(b"content-length", b"")
    length = int(declared) if declared.isdigit() else 0
    if length > max_bytes:
        raise _too_large(max_bytes)
    if reservation is not None:
        reservation.grow(length)
    message = await receive()
    content: bytes = message.get("body", b"")
    if reservation is not None and len(content) > length:
        reservation.grow(len(content) - length)
    if message.get("more_body"):
        parts = [content]
        size = len(content)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > max_bytes:
                raise _too_large(max_bytes)
            if reservation is not None and size > length:
                reservation.grow(min(len(parts[-1]), size - length))
        content = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise RequestError(408, "The connection was closed before the whole body arrived.")
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _check_json(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", _JSON)
    if content_type != _JSON:
        kind, _, parameters = content_type.partition(b";")
        kind = kind.strip().lower()
        if kind != _JSON and not kind.endswith(b"+json"):
            received = kind[:100].decode("latin-1")
            raise RequestError(415, f"The content type must be application/json, not {received}.", "Content-Type")
        _check_charset(parameters)


def _is_csv(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the content type is CSV. Raises RequestError (415) if it is CSV of another character set."""
    kind, _, parameters = headers[b"content-type"].partition(b";")
    if kind.strip().lower() != _CSV:
        return False
    _check_charset(parameters)
    return True


def _check_charset(parameters: bytes) -> None:
    for parameter in parameters.lower().split(b";"):
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"charset" and value.strip(b' "') not in (b"utf-8", b"utf8", b"us-ascii"):
            raise RequestError(415, "The body must be encoded in UTF-8.", "Content-Type")


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(
        413, f"The body is larger than {max_bytes} bytes. Send fewer rows per request.", Connection="close"
    )
