"""The load of the serving benchmark: clients in one process of their own, each with one connection that it keeps.

It is a bare HTTP/1.1 client on asyncio and uvloop: each client sends a body, reads the answer by its Content-Length or
its chunks, counts it, and sends the next body: the file has one on each line, and the clients take turns with them. It
costs a small part of what any of the servers does, and says how much processor time it took. Nothing that comes in the
warm-up is counted.

    python benchmarks/serving_load.py URL BODY_FILE --clients 16 --seconds 2 --maximum 20000 [--header NAME:VALUE]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop


@dataclass
class Tally:
    """What was counted after the warm-up: latencies in seconds, answers that were no 200, and the time it took."""

    warm_up: float
    seconds: float
    maximum: int
    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: int = 0
    started: float = 0.0
    ended: float = 0.0
    processor: float = 0.0

    def begin(self) -> None:
        self.started = time.perf_counter() + self.warm_up
        self.ended = self.started + self.seconds

    def take(self, sent: float, now: float, status: bytes) -> bool:
        """Count an answer; whether to go on."""
        if sent >= self.started:
            if not self.latencies:
                self.processor = time.process_time()
            if status == b"200":
                self.latencies.append(now - sent)
            else:
                self.errors += 1
        return now < self.ended and len(self.latencies) + self.errors < self.maximum


class Client(asyncio.Protocol):
    """One connection. `done` is set when it has stopped."""

    def __init__(self, requests: Iterator[bytes], tally: Tally, done: asyncio.Future[None]) -> None:
        self._requests, self._tally, self._done = requests, tally, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an asyncio.Transport by class, but by what it can do: uvloop's own.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        place = head.find(b"content-length:")
        if place < 0:
            # In chunks, the last of which is empty.
            if not self._buffer.endswith(b"\r\n0\r\n\r\n"):
                return
        elif len(self._buffer) < end + 4 + int(head[place + 15 :].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        if self._tally.take(self._sent, time.perf_counter(), head[9:12]):
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


async def load(url: str, bodies: list[bytes], headers: list[str], clients: int, tally: Tally) -> None:
    """Send until the tally has enough."""
    parts = urlsplit(url)
    start = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    heads = ["\r\n".join([*start, f"Content-Length: {len(body)}"]) + "\r\n\r\n" for body in bodies]
    requests = itertools.cycle([head.encode() + body for head, body in zip(heads, bodies, strict=True)])
    loop = asyncio.get_running_loop()
    tally.begin()
    ends = [loop.create_future() for _ in range(clients)]
    for done in ends:
        await loop.create_connection(lambda done=done: Client(requests, tally, done), parts.hostname, parts.port)
    await asyncio.wait_for(asyncio.gather(*ends), tally.warm_up + tally.seconds + 60)


def main() -> int:
    """The command line: prints the tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--header", action="append", default=["Content-Type: application/json"])
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--maximum", type=int, default=50_000)
    options = parser.parse_args()
    tally = Tally(options.warm_up, options.seconds, options.maximum)
    uvloop.run(load(options.url, options.body.read_bytes().splitlines(), options.header, options.clients, tally))
    took = min(time.perf_counter(), tally.ended) - tally.started
    ordered = sorted(tally.latencies)
    if not ordered:
        print(f"no request was answered with 200; {tally.errors} errors", file=sys.stderr)
        return 1

    def quantile(share: float) -> float:
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    result = {
        "requests": len(ordered),
        "errors": tally.errors,
        "per_second": len(ordered) / took,
        "median_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "worst_ms": quantile(1.0),
        "client_processor": (time.process_time() - tally.processor) / took,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
