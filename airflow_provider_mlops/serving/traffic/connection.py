"""A minimal HTTP/1.1 client for one request at a time, on a persistent connection."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from airflow_provider_mlops.serving.client.credentials import authorization


class UnansweredError(Exception):
    """A request without a response. `cause` is `connection` or `timeout`."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(slots=True)
class HttpResponse:
    """An HTTP response; the names of headers are in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: bytes = b""


class Connection:
    """A connection to one server. A lost connection is opened again for the next request.

    Parameters
    ----------
    url
        URL of the server (`http` or `https`), with a common path prefix if there is one.
    timeout
        Maximum time in seconds for a complete response.
    key
        Key that every request carries; None for none.
    tls
        TLS context; None for the usual one.
    """

    def __init__(self, url: str, timeout: float, key: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        self._always = f"Host: {parts.netloc.rpartition('@')[2]}\r\nContent-Type: application/json\r\n".encode()
        if key is not None:
            self._always += f"Authorization: {authorization(key)}\r\n".encode()
        self._timeout = timeout
        self._wire: _Wire | None = None

    async def post(self, path: str, content: bytes, headers: bytes = b"") -> HttpResponse:
        """Send a JSON body and return the response. Raises UnansweredError.

        Parameters
        ----------
        headers
            Additional header lines, each with its line break.
        """
        wire = self._wire
        if wire is None or not wire.is_free:
            wire = self._wire = await self._connect()
        head = f"POST {self._base}{path} HTTP/1.1\r\nContent-Length: {len(content)}\r\n".encode()
        try:
            return await wire.exchange(head + self._always + headers + b"\r\n" + content, self._timeout)
        except BaseException:
            # A late response must not be taken for that of the next request.
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                _, wire = await loop.create_connection(_Wire, self._host, self._port, ssl=self._tls)
        except TimeoutError as error:
            raise UnansweredError("timeout", f"Could not connect within {self._timeout:g} s.") from error
        except OSError as error:
            raise UnansweredError("connection", str(error)) from error
        return wire


class _Wire(asyncio.Protocol):
    """The protocol of one connection, with at most one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer = HttpResponse()
        self._parts: list[bytes] = []
        self._waiter: asyncio.Future[HttpResponse] | None = None
        self._open = False

    @property
    def is_free(self) -> bool:
        """Whether the connection is open and has no request in flight."""
        return self._open and self._waiter is None and not self._transport.is_closing()

    async def exchange(self, request: bytes, timeout: float) -> HttpResponse:
        """Send a request and return the response. Raises UnansweredError."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._fail, "timeout", f"No response within {timeout:g} s.")
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def abort(self) -> None:
        """Close the connection immediately."""
        if self._open:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the same methods, but is not a subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("connection", f"The response is not valid HTTP: {error}")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._open = False
        self._fail("connection", f"The server closed the connection{'.' if error is None else f': {error}'}")

    def on_message_begin(self) -> None:
        self._answer = HttpResponse()
        self._parts = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._answer.content = b"".join(self._parts)
        if not self._parser.should_keep_alive():
            self._transport.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._answer)

    def _fail(self, cause: str, message: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(UnansweredError(cause, message))
