"""Requests in progress use a bounded memory: what does not fit is refused at once, and nothing waits for anything."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.serving import served_registry
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER

BUDGET, MAX_BODY, ANNOUNCED = 4 << 20, 3_000_000, 1_000_000
FIT = int(BUDGET * 7 / 8) // ANNOUNCED
"""Number of announced bodies that fit into the share of large ones."""
PATH = "/models/cancer/invocations"
SMALL = {"instances": CANCER.head(1).to_numpy().tolist()}


@pytest.fixture(scope="module")
def bounded(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("bounded")
    served_registry.copy_to(served_models, directory)
    options = ["--model", "cancer", "--max-in-flight-bytes", str(BUDGET), "--max-body-bytes", str(MAX_BODY)]
    process = LiveGateway.launch(directory, *options)
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


@contextlib.contextmanager
def connected(gateway: LiveGateway, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=60)) for _ in range(count)
        ]


def head(*headers: str, path: str = PATH) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: gateway", *headers, "", ""]).encode()


def answer(client: socket.socket) -> bytes:
    """The beginning of the response; empty if there is none so far."""
    client.settimeout(0.2)
    try:
        return client.recv(4096)
    except TimeoutError:
        return b""


def asked(gateway: LiveGateway) -> int:
    return httpx.post(gateway.url + PATH, json=SMALL, timeout=60).status_code


@pytest.mark.parametrize("path", [PATH, "/feedback"])
def test_announced_bodies_beyond_the_budget_are_refused_at_once(bounded: LiveGateway, path: str) -> None:
    with connected(bounded, 20) as clients:
        refused = set()
        for client in clients:
            client.sendall(head(f"Content-Length: {ANNOUNCED}", path=path) + b"{")

        def some_are_refused() -> bool:
            for number, client in enumerate(clients):
                if number not in refused and (content := answer(client)):
                    assert content.startswith(b"HTTP/1.1 429 "), content
                    assert b"retry-after: 1" in content.lower()
                    refused.add(number)
            return len(refused) == len(clients) - FIT

        bounded.wait(some_are_refused, f"all but {FIT} are refused")
        # Small requests are answered meanwhile.
        assert asked(bounded) == 200
    # Everything is given back when the clients hang up.
    most = b" " * 2_900_000 + json.dumps(SMALL).encode()
    url = bounded.url + PATH
    bounded.wait(lambda: httpx.post(url, content=most, timeout=60).status_code == 200, "a large body is accepted")


def test_bodies_of_unknown_length_grow_until_the_budget_refuses_them(bounded: LiveGateway) -> None:
    part = b"%x\r\n" % 100_000 + b" " * 100_000 + b"\r\n"
    with connected(bounded, 2) as (first, second):
        for client in (first, second):
            client.sendall(head("Transfer-Encoding: chunked"))
        for _ in range(25):
            first.sendall(part)
        for _ in range(9):
            second.sendall(part)
        assert (answer(first), answer(second)) == (b"", b"")
        for _ in range(10):
            second.sendall(part)
        bounded.wait(lambda: answer(second).startswith(b"HTTP/1.1 429 "), "the second is refused")
        # The first one still fits, and is answered when it is complete.
        content = json.dumps(SMALL).encode()
        first.sendall(b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n")
        bounded.wait(lambda: answer(first).startswith(b"HTTP/1.1 200 "), "the first is answered")


def test_a_client_that_closes_its_own_side_is_answered(bounded: LiveGateway) -> None:
    content = json.dumps(SMALL).encode()
    request = head(f"Content-Length: {len(content)}") + content
    with connected(bounded, 3) as (one, pipelined, unfinished):
        one.sendall(request)
        one.shutdown(socket.SHUT_WR)
        pipelined.sendall(request * 3)
        pipelined.shutdown(socket.SHUT_WR)
        unfinished.sendall(request[:-1])
        unfinished.shutdown(socket.SHUT_WR)
        assert (everything(one).count(b"HTTP/1.1 200 "), everything(pipelined).count(b"HTTP/1.1 200 ")) == (1, 3)
        assert b"200" not in everything(unfinished)


def everything(client: socket.socket) -> bytes:
    """What arrives until the gateway closes the connection."""
    client.settimeout(60)
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)
