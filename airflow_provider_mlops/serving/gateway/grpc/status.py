"""How an error of the gateway is told to a gRPC client."""

from __future__ import annotations

from urllib.parse import quote

import grpc

from airflow_provider_mlops.serving.rows.request_error import RequestError

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

_MAX_MESSAGE_BYTES = 4000
"""A message travels in a header, whose size clients limit to 8 KiB and whose other characters take up to 12 bytes."""


def code(error: RequestError) -> grpc.StatusCode:
    """Return the gRPC status of an error.

    Examples
    --------
    >>> code(RequestError(429, "Too many requests.")).name
    'RESOURCE_EXHAUSTED'
    """
    return _CODES.get(error.status, grpc.StatusCode.UNKNOWN)


def metadata(error: RequestError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of an error: the HTTP status, the invalid field, and when to try again."""
    found: list[tuple[str, str | bytes]] = [("x-http-status", str(error.status))]
    if error.field is not None:
        found.append(("x-field-bin", error.field[:200].encode("utf-8", "replace")))
    if (seconds := error.headers.get("Retry-After")) is not None:
        found.append(("retry-after", seconds))
    return tuple(found)


def details(error: RequestError) -> str:
    """Return the message of an error, cut off if it is too long for a header.

    Examples
    --------
    >>> details(RequestError(400, "id must be text.")), len(details(RequestError(400, "\N{GRINNING FACE}" * 2000)))
    ('id must be text.', 333)
    """
    message = error.message[:_MAX_MESSAGE_BYTES].encode("utf-8", "replace").decode()
    while len(quote(message)) > _MAX_MESSAGE_BYTES:
        message = message[: int(len(message) * _MAX_MESSAGE_BYTES / len(quote(message)))]
    return message
