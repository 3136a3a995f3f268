"""HTTP/1.1 as the gateway speaks it: uvicorn's protocol, with a bound on the time in which a request must have come."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from airflow_provider_mlops.serving.gateway.http.coalescing_transport import CoalescingTransport
from airflow_provider_mlops.serving.rows.request_error import RequestError

REQUEST_SECONDS = 30.0
"""From a request's first byte to its last."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _comes = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Some bytes have come. There is a timer only for a request that does not come all at once."""
        super().data_received(data)
        if self._comes:
            if self._timer is None:
                self._timer = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        elif self._timer is not None:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        # One that came in the same bytes after another has its own time.
        self._stop_timer()
        self._comes = True

    def on_message_complete(self) -> None:
        """A request is there as a whole."""
        super().on_message_complete()
        self._comes = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in JSON as all else is refused."""
        self._stop_timer()
        self._refuse(b"400 Bad Request", RequestError(400, msg, Connection="close"))

    def _give_up(self) -> None:
        self._timer = None
        if self.flow.read_paused or self._answers_another():
            self._timer = self.loop.call_later(REQUEST_SECONDS, self._give_up)
            return
        message = f"the request did not come within {REQUEST_SECONDS:g} seconds"
        self._refuse(b"408 Request Timeout", RequestError(408, message, Connection="close"))

    def _answers_another(self) -> bool:
        """Whether an earlier request of the connection is being answered, so that nothing may be written in between."""
        cycle = self.cycle
        if self.pipeline:
            return True
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    def _refuse(self, status: bytes, refusal: RequestError) -> None:
        _, headers, content = refusal.raw()
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n" + content)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
