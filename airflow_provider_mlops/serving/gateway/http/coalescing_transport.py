"""Sends each response with one write.

uvicorn writes the head and the body of a response separately, and each small write costs as much as a small prediction.
This transport joins them and writes once, at the end of the current turn of the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any


class CoalescingTransport:
    """A transport that joins all writes of one turn of the event loop."""

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write the data at the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write the remaining data and close the connection."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write the data now."""
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))
