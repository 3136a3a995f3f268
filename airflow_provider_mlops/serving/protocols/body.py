"""Reads the body of a request: bounded in size and in time, and of a type that is understood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

from airflow_provider_mlops.serving.protocols.refusal import Refusal

MAXIMUM_BYTES = 16 * 1024 * 1024
HEADER_LENGTH = b"inference-header-content-length"
_SECONDS = 30.0
_JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Body:
    """What came: JSON in the first `json_bytes`, and tensors in binary after it; None where all of it is JSON."""

    content: bytes
    json_bytes: int | None = None


async def read(headers: Mapping[bytes, bytes], receive: Receive, maximum_bytes: int) -> bytes:
    """The whole body, which must be JSON. Raises Refusal: 413 if it is too large, 415 if it is no JSON, 408, 400."""
    _check_json(headers)
    return await _read(headers, receive, maximum_bytes)


async def read_tensors(headers: Mapping[bytes, bytes], receive: Receive, maximum_bytes: int) -> Body:
    """The whole body, which may have binary tensors after its JSON, if a header says so. Raises Refusal as `read`."""
    declared = headers.get(HEADER_LENGTH)
    if declared is None:
        return Body(await read(headers, receive, maximum_bytes))
    if not declared.isdigit() or len(declared) > 15:
        raise Refusal(
            400, f"the length of the JSON must be a number, not {declared[:50]!r}", "Inference-Header-Content-Length"
        )
    _check_encoding(headers)
    content = await _read(headers, receive, maximum_bytes)
    length = int(declared)
    if length > len(content):
        raise Refusal(
            400,
            f"the JSON is said to have {length} bytes, and all has {len(content)}",
            "Inference-Header-Content-Length",
        )
    return Body(content, length)


async def _read(headers: Mapping[bytes, bytes], receive: Receive, maximum_bytes: int) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > maximum_bytes:
        raise _too_large(maximum_bytes)
    with _PATIENCE:
        message = await receive()
        content: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts = [content]
            size = len(content)
            while message.get("more_body"):
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > maximum_bytes:
                    raise _too_large(maximum_bytes)
            content = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise Refusal(400, "the connection was closed before the body had come")
    if len(content) > maximum_bytes:
        raise _too_large(maximum_bytes)
    return content


class _Patience:
    """Bounds the time that a block may take, looking at all of them once a second: a timer for each costs too much."""

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[Any], float] = {}
        self._given_up: set[asyncio.Task[Any]] = set()
        self._looks = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._until[task] = time.monotonic() + _SECONDS
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(1.0, self._look)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        del self._until[task]
        if kind is asyncio.CancelledError and task in self._given_up:
            self._given_up.discard(task)
            if task.uncancel() == 0:
                raise Refusal(408, f"the body did not come within {_SECONDS:.0f} seconds", Connection="close") from None

    def _look(self) -> None:
        now = time.monotonic()
        for task, until in self._until.items():
            if now > until and task not in self._given_up:
                self._given_up.add(task)
                task.cancel()
        self._looks = bool(self._until)
        if self._looks:
            asyncio.get_running_loop().call_later(1.0, self._look)


_PATIENCE = _Patience()


def _check_json(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", _JSON)
    if content_type != _JSON:
        kind = content_type.partition(b";")[0].strip().lower()
        if kind != _JSON and not kind.endswith(b"+json"):
            shown = kind[:100].decode("latin-1")
            raise Refusal(415, f"the body must be application/json, not {shown}", "Content-Type")
    _check_encoding(headers)


def _check_encoding(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(415, "the body must not be compressed", "Content-Encoding")


def _too_large(maximum_bytes: int) -> Refusal:
    return Refusal(413, f"the body is larger than {maximum_bytes} bytes: send fewer rows", Connection="close")
