"""Errors that the gateway returns to its callers."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from typing import Any

from starlette.responses import Response


class RequestError(Exception):
    """A request that is rejected with an HTTP status, a message, and the name of the invalid field.

    - 400: the body does not follow the protocol.
    - 401: the key is missing or not valid.
    - 403: the key does not have the right, or a web page may not use the gateway.
    - 404: the model or version does not exist or is not being served.
    - 408, 413, 415: the body arrived too slowly, is too large, or has a format that is not supported.
    - 409: the change contradicts what MLflow says.
    - 422: the body follows the protocol, but the rows do not match the model's signature or the model rejects them.
    - 429: too many requests are in progress or waiting for the model, or the client has used up a limit.
    - 500: the model or the gateway failed.
    - 503: the request is valid but cannot be handled now; a retry may succeed.
    - 504: the deadline that the caller set has passed.

    Parameters
    ----------
    status
        HTTP status of the response.
    message
        One or two sentences that say what is wrong and what to do.
    field
        Name of the invalid field, column or header; None if the message concerns the whole request.
    headers
        Headers of the response; an underscore in a name stands for a hyphen.

    Examples
    --------
    >>> RequestError(429, "Too many requests.", Retry_After="1").headers
    {'Retry-After': '1'}
    """

    def __init__(self, status: int, message: str, field: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """Return `{"error": message, "field": field}` as a response; `field` is omitted if it is None."""
        return json_response(self._content(), self.status, self.headers)

    def raw(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of the response, for plain ASGI."""
        response = self.response()
        return self.status, response.raw_headers, bytes(response.body)

    def _content(self) -> dict[str, str]:
        content = {"error": self.message}
        if self.field is not None:
            content["field"] = self.field
        return content


_reference_key = secrets.token_bytes(16)


def log_reference(*reason: object) -> str:
    """Return a short id for a reason that stays in the log, for the message to the caller and for the log line.

    The same reason has the same id in one process, because its line is logged once a minute at most. The id does not
    reveal the reason.

    >>> log_reference("churn", "no such category") == log_reference("churn", "no such category")
    True
    """
    text = "\0".join(map(str, reason))
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=4, key=_reference_key).hexdigest()


def internal_error(log: logging.Logger, error: Exception, during: str) -> str:
    """Log a defect of the gateway, and return the message for the caller, which has the reference of the log line."""
    reference = secrets.token_hex(4)
    log.error("Internal error of the gateway during %s (reference %s)", during, reference, exc_info=error)
    return f"Internal error of the gateway: {type(error).__name__}. The gateway's log says why (reference {reference})."


class ModelFailureError(RequestError):
    """A version failed on a valid request; a rollout counts this against the version.

    Parameters
    ----------
    reason
        What went wrong, for the log. The caller does not see it, because a model's error may contain its data.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, *, reason: str | None = None, **headers: str
    ) -> None:
        super().__init__(status, message, field, **headers)
        self.reason = message if reason is None else reason


class ModelRefusalError(ModelFailureError):
    """A version refused the values of a valid request, as scikit-learn refuses an unknown category.

    If the champion refuses them as well, it is not the version's failure.
    """


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response, encoded as ASCII so that any text in a request can be quoted."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


def format_value(value: object) -> str:
    """Return a short representation of a request's value for an error message."""
    try:
        text = repr(value[:60] if isinstance(value, str | list) else value)
    except RecursionError:
        # A value that the parser could still read may be nested too deeply for repr.
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
