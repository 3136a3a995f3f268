"""Accepts TLS connections.

asyncio's own server tells a protocol about a connection after the handshake. Here, a connection counts, and its time
limit begins, when it is accepted. The certificate may change from one handshake to the next.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from airflow_provider_mlops.serving.gateway.http import http_protocol
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.repeated_log import RepeatedLog

log = RepeatedLog(logging.getLogger(__name__))

_PAUSE_SECONDS = 0.5
"""Pause after a connection could not be accepted, for example because the process has too many open files."""


class TlsListener:
    """Accepts connections on one socket from `start` to `stop`. Its methods run on the event loop.

    Parameters
    ----------
    listener
        A bound socket.
    make_protocol
        Returns the protocol of a new connection.
    context
        Returns the context of a new handshake.
    backlog
        Number of connections that wait until they are accepted.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], HttpProtocol],
        context: Callable[[], ssl.SSLContext],
        backlog: int,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._context = context
        self._backlog = backlog
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        self._listener.setblocking(False)
        self._listener.listen(self._backlog)
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """Accept no more connections, and end those whose handshake is not finished."""
        tasks = [task for task in (self._accepting, *self._handshakes) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                log.error("accept", "Could not accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._begin(connection)
            # Waiting connections are accepted one after the other, and the others go on in between.
            await asyncio.sleep(0)

    def _begin(self, connection: socket.socket) -> None:
        protocol = self._make_protocol()
        if not protocol.open_connections.enter(protocol, lambda: handshake.cancel()):
            # Before a handshake, nothing can be said.
            connection.close()
            return
        handshake = asyncio.create_task(self._shake_hands(protocol, connection))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, protocol: HttpProtocol, connection: socket.socket) -> None:
        has_begun = False
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=http_protocol.REQUEST_SECONDS,
            )
            has_begun = True
        except OSError as error:
            # Also an `ssl.SSLError`: a client without a valid certificate, or one that does not speak TLS.
            logging.getLogger(__name__).debug("A TLS handshake failed: %s", error)
        finally:
            if not has_begun:
                protocol.open_connections.leave(protocol)
                connection.close()
