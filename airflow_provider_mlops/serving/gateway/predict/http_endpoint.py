"""Prediction requests over HTTP.

This is plain ASGI and runs ahead of Starlette, whose routing and request objects cost more than a prediction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_mlops.serving.gateway.access.doors import address_of
from airflow_provider_mlops.serving.gateway.predict.endpoint import PredictEndpoint
from airflow_provider_mlops.serving.gateway.predict.incoming_request import IncomingRequest
from airflow_provider_mlops.serving.gateway.predict.job import Prediction
from airflow_provider_mlops.serving.protocols import compression
from airflow_provider_mlops.serving.protocols.body import receive_body
from airflow_provider_mlops.serving.protocols.routes import match_route
from airflow_provider_mlops.serving.rows.request_error import RequestError

_LARGE_BYTES = 32 * 1024
"""Memory of a larger response is held until the client has received it."""


class HttpPredictEndpoint:
    """The ASGI application that responds to prediction requests.

    Parameters
    ----------
    endpoint
        Answers the requests.
    max_body_bytes
        Maximum size of a body.
    """

    def __init__(self, endpoint: PredictEndpoint, max_body_bytes: int) -> None:
        self._endpoint = endpoint
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        predict_route = match_route(scope["path"])
        assert predict_route is not None
        headers = dict(scope["headers"])
        reservation = self._endpoint.reservation()
        try:
            arrives = partial(receive_body, headers, receive, self._max_body_bytes, reservation)
            outcome = await self._endpoint.answer(
                IncomingRequest(predict_route, scope["headers"], headers, address_of(scope), arrives, reservation)
            )
            if isinstance(outcome, RequestError):
                status, described, content = outcome.raw()
            else:
                status = 200
                described, content = _response(outcome)
                if len(content) >= compression.MIN_BYTES:
                    content = await _compress(described, content, headers)
                described.append((b"content-length", b"%d" % len(content)))
            await send({"type": "http.response.start", "status": status, "headers": described})
            if len(content) <= _LARGE_BYTES:
                await send({"type": "http.response.body", "body": content})
                return
            # Held until the client has received it, or is disconnected because it does not.
            reservation.replace(len(content))
            await send({"type": "http.response.body", "body": content, "more_body": True})
            # `CoalescingTransport` writes at the end of this turn; then uvicorn knows whether it has to wait.
            await asyncio.sleep(0)
            await send({"type": "http.response.body"})
        finally:
            reservation.release()


def _response(prediction: Prediction) -> tuple[list[tuple[bytes, bytes]], bytes]:
    described = [*prediction.encoded.headers, (b"x-model-version", b"%d" % prediction.version)]
    if prediction.rows:
        described.append((b"x-prediction-id", prediction.id.encode()))
    return described, prediction.encoded.content


async def _compress(described: list[tuple[bytes, bytes]], content: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """Return a large body, compressed if the caller accepts that, and add to the headers that describe it."""
    described.append((b"vary", b"accept-encoding"))
    encoding = compression.accepted(headers.get(b"accept-encoding"))
    if encoding is None:
        return content
    described.append((b"content-encoding", encoding.encode()))
    return await compression.compressed(content, encoding)


class FastPathApp:
    """The ASGI application that the server calls: prediction requests go to `predict_endpoint`, all others to `app`."""

    def __init__(self, app: ASGIApp, predict_endpoint: ASGIApp) -> None:
        self._app = app
        self._predict_endpoint = predict_endpoint

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Respond to one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and match_route(scope["path"]) is not None:
            return self._predict_endpoint(scope, receive, send)
        return self._app(scope, receive, send)
