"""With TLS, a connection counts from the moment it is accepted, and a silent one keeps nobody out."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from airflow_provider_mlops.serving.gateway.access.tls import Certificates
from airflow_provider_mlops.serving.gateway.http import http_protocol
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.http.open_connections import OpenConnections
from airflow_provider_mlops.serving.gateway.http.tls_listener import TlsListener
from tests.helpers.serving.certificates import Authority

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
MAX = 4
SECONDS = 20


class Files(NamedTuple):
    """An authority and the certificate that it has issued."""

    authority: Authority
    certificates: Certificates


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority(tmp_path, "authority")
    issued = authority.issue("gateway")
    return Files(authority, Certificates(issued.certificate, issued.key))


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> OpenConnections:
    found = OpenConnections(MAX)
    monkeypatch.setattr(HttpProtocol, "open_connections", found)
    return found


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def in_loop(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(work)

    return in_loop


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def listening(certificates: Certificates) -> AsyncIterator[tuple[str, int]]:
    config = uvicorn.Config(answer, loop="asyncio", log_config=None)
    config.load()
    state = ServerState()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = TlsListener(
            listener, lambda: HttpProtocol(config, state, {}), lambda: certificates.current.context, 100
        )
        server.start()
        try:
            yield listener.getsockname()
        finally:
            await server.stop()


@asynccontextmanager
async def client(address: tuple[str, int], authority: Authority) -> AsyncIterator[asyncio.StreamWriter]:
    """A client that has been answered once."""
    context = ssl.create_default_context(cafile=authority.bundle)
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        writer.write(REQUEST)
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), SECONDS)).startswith(b"HTTP/1.1 200")
        yield writer
    finally:
        writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_silent_connections_count_and_make_room_for_clients(
    files: Files, connections: OpenConnections, run: Callable[..., None]
) -> None:
    async def scenario() -> None:
        async with listening(files.certificates) as address:
            silent = []
            for count in range(1, MAX + 1):
                silent.append(socket.create_connection(address))
                await until(lambda count=count: len(connections) == count)  # type: ignore[misc]
            for _ in range(3):
                async with client(address, files.authority):
                    assert len(connections) == MAX
                await until(lambda: len(connections) == MAX - 1)
                silent.append(socket.create_connection(address))
                await until(lambda: len(connections) == MAX)
            # Each client has taken the place of the one that was silent longest.
            await until(lambda: is_closed(silent[0]))
            assert not is_closed(silent[-1])
            for connection in silent:
                connection.close()
            await until(lambda: len(connections) == 0)

    run(scenario())


def test_clients_that_have_sent_a_request_keep_their_place(
    files: Files, connections: OpenConnections, run: Callable[..., None]
) -> None:
    connections.maximum = 2

    async def scenario() -> None:
        async with listening(files.certificates) as address:
            async with client(address, files.authority), client(address, files.authority):
                with socket.create_connection(address) as refused:
                    await until(lambda: is_closed(refused))
                assert len(connections) == 2
            await until(lambda: len(connections) == 0)
            async with client(address, files.authority):
                pass

    run(scenario())


def test_the_time_limit_begins_when_a_connection_is_accepted(
    files: Files, connections: OpenConnections, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)

    async def scenario() -> None:
        async with listening(files.certificates) as address:
            with socket.create_connection(address) as silent, socket.create_connection(address) as garbage:
                garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
                await until(lambda: is_closed(garbage))
                await until(lambda: is_closed(silent))
            # One that is silent after the handshake, too.
            context = ssl.create_default_context(cafile=files.authority.bundle)
            reader, writer = await asyncio.open_connection(*address, ssl=context)
            assert await asyncio.wait_for(reader.read(), SECONDS) == b""
            writer.close()
            await until(lambda: len(connections) == 0)

    run(scenario())


def test_a_listener_that_stops_ends_the_handshakes(
    files: Files, connections: OpenConnections, run: Callable[..., None]
) -> None:
    async def scenario() -> None:
        async with listening(files.certificates) as address:
            silent = socket.create_connection(address)
            await until(lambda: len(connections) == 1)
        await until(lambda: is_closed(silent))
        silent.close()
        assert len(connections) == 0

    run(scenario())
