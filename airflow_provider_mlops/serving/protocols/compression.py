"""Compressed bodies: gzip and deflate, in requests and in responses."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from concurrent.futures import Executor
from typing import Literal

from airflow_provider_mlops.serving.protocols.memory_budget import Reservation
from airflow_provider_mlops.serving.rows.request_error import RequestError

Encoding = Literal["gzip", "deflate"]

MIN_BYTES = 16 * 1024
"""Smaller responses are sent as they are: compressing them takes longer than sending them."""

_INLINE_BYTES = 32 * 1024
"""More than this is compressed and decompressed in a thread."""
_LEVEL = 1
_MAX_RATIO = 1032
"""How much larger than its compressed form something can be at most."""
_EITHER = 47
"""What zlib calls a gzip or zlib header, found by looking at the first bytes."""


def is_compressed(content_encoding: bytes | None) -> bool:
    """Return whether a request is compressed. Raises RequestError (415) for an unknown encoding.

    Examples
    --------
    >>> is_compressed(None), is_compressed(b"identity"), is_compressed(b"gzip")
    (False, False, True)
    """
    if content_encoding is None:
        return False
    name = content_encoding.strip().lower()
    if name in (b"gzip", b"x-gzip", b"deflate"):
        return True
    if name in (b"identity", b""):
        return False
    raise RequestError(
        415,
        f"The encoding {name[:60].decode('latin-1')!r} is not supported. Send gzip, deflate or an uncompressed body.",
        "Content-Encoding",
        Accept_Encoding="gzip, deflate",
    )


async def decompressed(content: bytes, max_bytes: int, reservation: Reservation | None = None) -> bytes:
    """Return the content of a compressed body, at most `max_bytes`, and add its size to the reservation.

    What may be large is decompressed in a thread. Raises RequestError: 400 if the body is damaged, 413 if it is larger
    when decompressed, however small it was; 429 if there is no memory for it.
    """
    if len(content) <= _INLINE_BYTES:
        first = _start(content, _INLINE_BYTES)
        if first is not None:
            return _checked_size(first, max_bytes)
    if reservation is not None:
        reservation.grow(min(max_bytes, _MAX_RATIO * len(content)))
    found = await asyncio.get_running_loop().run_in_executor(None, _decompress, content, max_bytes)
    if reservation is not None:
        reservation.replace(len(content) + len(found))
    return found


def accepted(accept_encoding: bytes | None) -> Encoding | None:
    """Return how a response may be compressed, from the request's header.

    Examples
    --------
    >>> accepted(b"gzip, deflate, br"), accepted(b"deflate;q=0.5, gzip;q=0"), accepted(b"br"), accepted(None)
    ('gzip', 'deflate', None, None)
    """
    if accept_encoding is None:
        return None
    qualities: dict[str, float] = {}
    for entry in accept_encoding.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            qualities[name] = float(quality)
        except ValueError:
            qualities[name] = 0.0
    others = qualities.get("*", 0.0)
    candidates: tuple[Encoding, Encoding] = ("gzip", "deflate")
    best = max(candidates, key=lambda name: qualities.get(name, others))
    return best if qualities.get(best, others) > 0 else None


async def compressed(content: bytes, encoding: Encoding, executor: Executor | None = None) -> bytes:
    """Return the content compressed, in a thread if it is large."""
    if len(content) <= _INLINE_BYTES:
        return _compress(content, encoding)
    return await asyncio.get_running_loop().run_in_executor(executor, _compress, content, encoding)


def _compress(content: bytes, encoding: Encoding) -> bytes:
    return gzip.compress(content, _LEVEL) if encoding == "gzip" else zlib.compress(content, _LEVEL)


def _start(content: bytes, max_bytes: int) -> bytes | None:
    """Return the content if it is one complete stream of at most `max_bytes`; None if a closer look is needed."""
    stream = zlib.decompressobj(_EITHER)
    try:
        found = stream.decompress(content, max_bytes)
    except zlib.error:
        return None
    return found if stream.eof and not stream.unused_data else None


def _decompress(content: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes + 1
    while content:
        stream = zlib.decompressobj(_EITHER)
        try:
            part = stream.decompress(content, left)
        except zlib.error as error:
            raise RequestError(400, f"The compressed body is damaged: {error}.", "Content-Encoding") from None
        parts.append(part)
        left -= len(part)
        if left <= 0:
            break
        if not stream.eof:
            raise RequestError(400, "The compressed body is incomplete.", "Content-Encoding")
        # A gzip file may consist of several parts.
        content = stream.unused_data
    return _checked_size(b"".join(parts), max_bytes)


def _checked_size(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise RequestError(413, f"The decompressed body is larger than {max_bytes} bytes. Send fewer rows per request.")
    return content
