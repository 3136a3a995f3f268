"""The HTTP/1.1 protocol of the gateway: uvicorn's, with limits on time, headers and connections, and errors in JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from airflow_provider_mlops.serving.gateway.http import eager_start
from airflow_provider_mlops.serving.gateway.http.coalescing_transport import CoalescingTransport
from airflow_provider_mlops.serving.gateway.http.open_connections import OpenConnections
from airflow_provider_mlops.serving.protocols.routes import match_route
from airflow_provider_mlops.serving.rows.request_error import RequestError

REQUEST_SECONDS = 30.0
"""Maximum time between the first and the last byte of a request, until the first byte of a connection, and until a
client reads more of a large response."""
MAX_HEAD_BYTES = 64 * 1024
"""Maximum size of the request line and the headers."""


_UNLIMITED = 1 << 62


class HttpProtocol(HttpToolsProtocol):
    """A client's connection, made when it is accepted; `connection_made` is called after the TLS handshake, if any."""

    open_connections = OpenConnections()
    """All connections of the process. If there are too many, a new one is answered with status 503 and closed."""

    _has_begun = False
    _is_receiving = False
    _is_refused = False
    _is_head_too_large = False
    _head_bytes = 0
    _is_in_head = False
    _is_upgrade = False
    _unstarted: tuple[RequestResponseCycle, Any] | None = None
    _timer: asyncio.TimerHandle | None = None
    _slow_reader_timer: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._accepted_at = self.loop.time()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not self.open_connections.enter(self, transport.abort):
            self._is_refused = True
            self.transport = transport
            message = "The gateway has too many connections. Retry later, and reuse connections."
            error = RequestError(503, message, Connection="close", Retry_After="1")
            self._respond_with_error(b"503 Service Unavailable", error)
            return
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]
        self._timer = self.loop.call_at(self._accepted_at + REQUEST_SECONDS, self._close_silent)

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        # Counted up to the head's end only; a request that arrives at once is counted as a whole, and looked at there.
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._unstarted is not None:
            self._start_unstarted(*self._unstarted)
        if self._is_receiving and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._is_head_too_large = True
            self.send_400_response("")
            return
        # Only a request that does not arrive all at once needs a timer.
        if self._is_receiving:
            if self._timer is None:
                self._timer = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        elif self._timer is not None and self._has_begun:
            self._stop_timer()

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("The gateway is not a proxy.")
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """Return the head of a request that asks for another protocol as if it did not (RFC 9110, section 7.8).

        The parser stops after the head of such a request, and would read its body as the next request. A new one goes
        on.
        """
        self._is_upgrade = False
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode("ascii"))
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([line, *headers, b"", b""])

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_refused:
            return
        self.open_connections.leave(self)
        self._stop_timer()
        self._stop_slow_reader_timer()
        super().connection_lost(exc)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # A request that arrived together with an earlier one has its own time limit.
        self._stop_timer()
        self._has_begun = self._is_receiving = True

    @override
    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._is_upgrade = True
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                self._is_head_too_large = True
                raise ValueError("the headers are too large")
        self.open_connections.has_spoken(self)
        # The body has a limit of its own.
        self._head_bytes = -_UNLIMITED
        self._is_in_head = True
        try:
            super().on_headers_complete()
        finally:
            self._is_in_head = False

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._is_in_head and self.scope["method"] == "POST" and match_route(self.scope["path"]) is not None:
            # The body may have arrived together with the head.
            self._unstarted = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _start_unstarted(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._unstarted = None
        if cycle.more_body:
            super()._start_asgi_task(cycle, app)
            return
        rest = eager_start.start(cycle.run_asgi(app))
        if rest is None:
            self.transport.flush()  # type: ignore[attr-defined]
            return
        task = self.loop.create_task(rest)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    @override
    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        super().on_message_complete()
        self._is_receiving = False
        self._head_bytes = 0

    @override
    def send_400_response(self, msg: str) -> None:
        self._stop_timer()
        if self._is_head_too_large:
            message = f"The headers are larger than {MAX_HEAD_BYTES} bytes."
            self._respond_with_error(
                b"431 Request Header Fields Too Large", RequestError(431, message, Connection="close")
            )
        else:
            self._respond_with_error(b"400 Bad Request", RequestError(400, msg, Connection="close"))

    @override
    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that only closes its own side after its request; close the connection otherwise."""
        if self._is_refused or self._is_receiving or not self._is_responding():
            return False
        if self.transport.get_extra_info("sslcontext") is not None:
            # TLS has no half-closed connections.
            return False
        # The last response closes the connection; uvicorn adds requests that wait on the left.
        last = self.pipeline[0][0] if self.pipeline else self.cycle
        last.keep_alive = False
        return True

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow_reader_timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_slow_reader_timer()

    def _stop_slow_reader_timer(self) -> None:
        if self._slow_reader_timer is not None:
            self._slow_reader_timer.cancel()
            self._slow_reader_timer = None

    def _close_silent(self) -> None:
        """Close a connection on which nothing has arrived."""
        self._timer = None
        self.transport.close()

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
