"""A request must have come within a time, and what has come is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from airflow_provider_mlops.serving.gateway.http import http_protocol
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.http.open_connections import OpenConnections
from airflow_provider_mlops.serving.protocols import body

HEAD = b"POST /%s HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
SECONDS = 0.2


class Echo:
    """Answers with the body, for the path `/late` after a while; remembers what it could not read."""

    def __init__(self, max_bytes: int = 1000) -> None:
        self.refused: list[str] = []
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            content = await body.receive_json({}, receive, self.max_bytes)
        except body.RequestError as refusal:
            self.refused.append(refusal.message)
            raise
        if scope["path"] == "/late":
            await asyncio.sleep(3 * SECONDS)
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def connected(echo: Echo) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(echo, loop="asyncio", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def _until_closed(*pieces: bytes) -> tuple[bytes, list[str]]:
    """What comes back for some bytes until the connection is closed, and what the application could not read."""
    echo = Echo()
    async with connected(echo) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(SECONDS / 4)
        answer = await asyncio.wait_for(reader.read(), 20)
        await asyncio.sleep(0)
    return answer, echo.refused


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", SECONDS)


def test_a_body_that_does_not_come_is_given_up() -> None:
    answer, refused = asyncio.run(_until_closed(HEAD % b"" + b"ab"))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"did not arrive within 0.2 seconds" in answer
    assert refused == ["The connection was closed before the whole body arrived."]


@pytest.mark.parametrize("part", [b"P", b"POST / HTTP/1.1\r\nHost:"])
def test_headers_that_do_not_come_are_given_up(part: bytes) -> None:
    answer, refused = asyncio.run(_until_closed(part))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert refused == []


def test_a_request_that_comes_in_pieces_is_answered_and_the_next_has_its_own_time() -> None:
    pieces = (HEAD % b"", b"ab", b"cd", HEAD % b"", b"ef", b"gh", HEAD % b"" + b"i")
    answer, refused = asyncio.run(_until_closed(*pieces))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"abcd" in answer
    assert b"efgh" in answer
    assert answer.count(b"HTTP/1.1 408") == 1
    assert len(refused) == 1


def test_what_is_slow_to_be_answered_is_not_given_up() -> None:
    async def slow() -> bytes:
        async with connected(Echo()) as (reader, writer):
            writer.write(HEAD % b"late" + b"abcd")
            return await asyncio.wait_for(reader.readuntil(b"abcd"), 20)

    assert asyncio.run(slow()).startswith(b"HTTP/1.1 200 OK")


def test_half_a_request_behind_another_does_not_get_into_its_answer() -> None:
    # The gateway does not read on before it has answered the first, so that this is no fault of the second.
    answer, _ = asyncio.run(_until_closed(HEAD % b"late" + b"abcd" + HEAD % b"" + b"e"))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.index(b"abcd") < answer.index(b"HTTP/1.1 408")


@pytest.mark.parametrize("piece", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_connection_on_which_no_request_comes_is_closed(piece: bytes) -> None:
    answer, refused = asyncio.run(_until_closed(piece))
    assert (answer, refused) == (b"", [])


LARGE = b"x" * (http_protocol.MAX_HEAD_BYTES + 1)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"POST /%s HTTP/1.1\r\nHost: here\r\n\r\n" % LARGE],
        [b"POST / HTTP/1.1\r\nHost: here\r\nX: %s\r\n\r\n" % LARGE],
        [b"POST / HTTP/1.1\r\nX: %s" % LARGE],
        [b"POST / HTTP/1.1\r\n", b"X: ", LARGE[:40_000], LARGE[:40_000]],
        [b"POST / HTTP/1.1\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 3000 + b"\r\n"],
        # After a request that is answered.
        [HEAD % b"" + b"abcd", b"POST / HTTP/1.1\r\nX: %s\r\n\r\n" % LARGE],
    ],
    ids=["path", "header", "unfinished", "in pieces", "many", "second"],
)
def test_headers_that_are_too_large(pieces: list[bytes]) -> None:
    answer, refused = asyncio.run(_until_closed(*pieces))
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in answer
    assert b"The headers are larger than 65536 bytes." in answer
    assert refused == []


def test_a_large_body_has_a_limit_of_its_own() -> None:
    """It may be larger than the headers, and so may the bodies of a connection together."""

    async def ask() -> list[bytes]:
        answers = []
        async with connected(Echo(max_bytes=1_000_000)) as (reader, writer):
            for size in (200_000, 4, 500_000):
                writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
                answers.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(size)
        return answers

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in asyncio.run(ask()))


def test_more_connections_than_allowed_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "open_connections", OpenConnections(1))

    async def ask() -> tuple[bytes, bytes]:
        async with connected(Echo()) as (reader, writer):
            writer.write(HEAD % b"" + b"abcd")
            first = await reader.readexactly(12)
            other, second = await asyncio.open_connection(*writer.get_extra_info("peername"))
            second.write(HEAD % b"" + b"abcd")
            refused = await asyncio.wait_for(other.read(), 5)
            second.close()
            return first, refused

    first, refused = asyncio.run(ask())
    assert first == b"HTTP/1.1 200"
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"too many connections" in refused


LAST = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext"
UPGRADE = b"POST / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n%s\r\n\r\n"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"x, y"])
@pytest.mark.parametrize("cut", [None, 20, 60, 120, -2])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_request_for_another_protocol_is_answered_as_any_other(
    protocol: bytes, cut: int | None, is_chunked: bool
) -> None:
    inner = HEAD % b"" + b"evil"
    if is_chunked:
        sent = UPGRADE % (protocol, b"Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    else:
        sent = UPGRADE % (protocol, b"Content-Length: %d" % len(inner)) + inner
    # Its body must not be read as the next request, and the request behind it must not be lost.
    pieces = (sent + LAST,) if cut is None else (sent[:cut], sent[cut:], LAST)
    answer, _ = asyncio.run(_until_closed(*pieces))
    answers = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [text.partition(b"\r\n\r\n")[2].removesuffix(b"HTTP") for text in answers] == [inner, b"next"]


def test_many_requests_for_another_protocol_at_once_are_all_answered() -> None:
    request = UPGRADE % (b"h2c", b"Content-Length: 1") + b"a"
    answer, _ = asyncio.run(_until_closed(2000 * request + LAST))
    assert answer.count(b"HTTP/1.1 200 OK") == 2001
    assert answer.endswith(b"next")


def test_a_tunnel_is_refused() -> None:
    request = b"CONNECT here:443 HTTP/1.1\r\nHost: here:443\r\n\r\n"
    answer, refused = asyncio.run(_until_closed(request + HEAD % b"" + b"evil"))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"not a proxy" in answer
    assert (answer.count(b"HTTP/1.1"), refused) == (1, [])
