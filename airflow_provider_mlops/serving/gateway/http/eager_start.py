"""Starts the work on a request at once instead of in the next turn of the event loop.

asyncio starts a task in the next turn, and wakes it in another one for everything that it waits for. Each turn costs as
much as a small prediction. A request that can be answered without waiting therefore needs no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


def start(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None] | None:
    """Run a coroutine until it waits for something. Returns the rest, which must become a task; None if it has ended.

    The first part runs outside of any task, so it must not use what belongs to a task, such as `asyncio.timeout`; see
    `inside_task`.

    Examples
    --------
    >>> async def nothing() -> None:
    ...     pass
    >>> start(nothing()) is None
    True
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return _rest(work, waits_for)


async def inside_task() -> None:
    """Continue in a task, if the caller was begun by `start`."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


async def _rest(work: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _Rest(work, waits_for)


class _Rest:
    """Awaits what a coroutine waits for, then continues the coroutine."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            failure: BaseException | None = None
            sent: Any = None
            try:
                sent = yield waits_for
            except BaseException as error:
                failure = error
            try:
                waits_for = self._work.send(sent) if failure is None else self._work.throw(failure)
            except StopIteration:
                return
