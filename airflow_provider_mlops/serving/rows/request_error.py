"""Why a request is not answered with a prediction, as the caller sees it."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


class RequestError(Exception):
    """A request that is refused with an HTTP status, a sentence, and the field that is at fault.

    - 400: the body is not what the protocol asks for.
    - 404: no such model, or it does not serve.
    - 408, 413, 415: the body came too slowly, is too large, or is not JSON.
    - 409: what is asked for contradicts the state of the gateway.
    - 422: the protocol is kept, but the rows do not fit the model's signature, or the model cannot take them.
    - 429: more requests are under way, or wait for the model, than the gateway was told to take.
    - 503: nothing is wrong with the request; trying again later can help.
    """

    def __init__(self, status: int, message: str, field: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """`{"error": ..., "field": ...}`; the field is left out where none is at fault."""
        return json_response(self._content(), self.status, self.headers)

    def raw(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The same as status, headers and body, for plain ASGI."""
        response = self.response()
        return self.status, response.raw_headers, bytes(response.body)

    def _content(self) -> dict[str, str]:
        content = {"error": self.message}
        if self.field is not None:
            content["field"] = self.field
        return content


class ModelFailureError(RequestError):
    """A version failed on a request that the protocol and the signature allow: in a rollout, that counts against it."""


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON, in ASCII: whatever text came in can go out again."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


def shown(value: object) -> str:
    """A value of the request as it is quoted in a message: short, whatever it is."""
    try:
        text = repr(value[:60] if isinstance(value, str | list) else value)
    except RecursionError:
        # What could just be parsed can be nested too deeply to be written.
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
