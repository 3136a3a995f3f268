"""The HTTP/1.1 protocol of the gateway: uvicorn's, with a time limit for receiving a request and errors in JSON."""

from __future__ import annotations

import asyncio

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from airflow_provider_mlops.serving.gateway.http.coalescing_transport import CoalescingTransport
from airflow_provider_mlops.serving.rows.request_error import RequestError

REQUEST_SECONDS = 30.0
"""Maximum time between the first and the last byte of a request, in seconds."""


class HttpProtocol(HttpToolsProtocol):
    """A client's connection."""

    _is_receiving = False
    _timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Only a request that does not arrive all at once needs a timer.
        if self._is_receiving:
            if self._timer is None:
                self._timer = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        elif self._timer is not None:
            self._stop_timer()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # A request that arrived together with an earlier one has its own time limit.
        self._stop_timer()
        self._is_receiving = True

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_receiving = False

    @override
    def send_400_response(self, msg: str) -> None:
        self._stop_timer()
        self._respond_with_error(b"400 Bad Request", RequestError(400, msg, Connection="close"))

    def _give_up(self) -> None:
        self._timer = None
        if self.flow.read_paused or self._is_responding():
            self._timer = self.loop.call_later(REQUEST_SECONDS, self._give_up)
            return
        message = f"The request did not arrive within {REQUEST_SECONDS:g} seconds."
        self._respond_with_error(b"408 Request Timeout", RequestError(408, message, Connection="close"))

    def _is_responding(self) -> bool:
        """Return whether the response to an earlier request is unfinished, so that nothing else may be written."""
        cycle = self.cycle
        if self.pipeline:
            return True
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    def _respond_with_error(self, status: bytes, error: RequestError) -> None:
        _, headers, content = error.raw()
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n" + content)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
