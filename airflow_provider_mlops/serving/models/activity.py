"""A table of which version each thread of a process is in, in memory that outlives the process.

A process that is killed cannot say which version it was in. So each thread that loads or predicts has a slot in a table
that the supervisor shares, and writes a number to it before and after each call: two stores into memory. The supervisor
reads the table of a process that died.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from airflow_provider_mlops.registry.model_version import ModelVersion

Action = Literal["loading", "predicting"]

_SLOTS = 256
_CELL_BYTES = 8
_STOPPING = 0
"""Cell that says that the process is stopping because it was told to."""
_FIRST = 2


class Busy(NamedTuple):
    """A thread that was in a version."""

    thread: int
    number: int
    action: Action


class ActivityTable:
    """The slots of one process. The supervisor creates it before it forks the process.

    Examples
    --------
    >>> table = ActivityTable()
    >>> table.cells[_FIRST], table.cells[_FIRST + 1] = threading.get_ident(), 2 * 7 + 1
    >>> [(busy.number, busy.action) for busy in table.busy()]
    [(7, 'loading')]
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _CELL_BYTES * (_FIRST + 2 * _SLOTS))
        self.cells = memoryview(self._memory).cast("Q")

    @property
    def is_stopping(self) -> bool:
        """Return whether the process was stopping because it was told to."""
        return self.cells[_STOPPING] != 0

    def busy(self) -> list[Busy]:
        """Return the threads that were loading or predicting."""
        found = []
        for place in range(_FIRST, len(self.cells), 2):
            code = self.cells[place + 1]
            if code:
                found.append(Busy(self.cells[place], code >> 1, "loading" if code & 1 else "predicting"))
        return found

    def close(self) -> None:
        """Release the memory."""
        self.cells.release()
        self._memory.close()


class _ThreadSlot:
    """The slot of one thread; it is free again when the thread ends."""

    def __init__(self, free: deque[int], cells: memoryview) -> None:
        self._free = free
        # A thread beyond the last slot writes to a cell that no one reads.
        self._place = free.popleft() if free else 0
        if self._place:
            cells[self._place] = threading.get_ident()
            cells[self._place + 1] = 0
        self.cells = cells if self._place else memoryview(bytearray(2 * _CELL_BYTES)).cast("Q")
        self.place = self._place + 1

    def __del__(self) -> None:
        if self._place:
            self._free.append(self._place)


class _Process:
    """The table that this process writes to; until `use` is called, one of its own that no one reads."""

    def __init__(self, table: ActivityTable, announce: Callable[[int, ModelVersion], None]) -> None:
        self.table = table
        self.announce = announce
        self.free: deque[int] = deque(range(_FIRST, len(table.cells), 2))
        self.local = threading.local()
        self.next_number = 1
        self.guard = threading.Lock()


_process = _Process(ActivityTable(), lambda number, version: None)


def use(table: ActivityTable, announce: Callable[[int, ModelVersion], None]) -> None:
    """Write to a shared table from now on. Call it once, before any thread starts.

    Parameters
    ----------
    announce
        Called with the number of each version before the number is written for the first time.
    """
    global _process
    _process = _Process(table, announce)


def stopping() -> None:
    """Say that this process stops because it was told to, so that no version is blamed for its end."""
    _process.table.cells[_STOPPING] = 1


def register(version: ModelVersion) -> int:
    """Return a number for a version. Numbers are not reused."""
    with _process.guard:
        number = _process.next_number
        _process.next_number += 1
    _process.announce(number, version)
    return number


def slot() -> tuple[memoryview, int]:
    """Return the cell of this thread, as memory and place in it. Write `2 * number` while a version predicts."""
    local = _process.local
    try:
        return local.cell  # type: ignore[no-any-return]
    except AttributeError:
        local.slot = _ThreadSlot(_process.free, _process.table.cells)
        local.cell = local.slot.cells, local.slot.place
        return local.cell  # type: ignore[no-any-return]


@contextlib.contextmanager
def loading(version: ModelVersion) -> Iterator[None]:
    """Say that this thread loads a version."""
    cells, place = slot()
    before = cells[place]
    cells[place] = 2 * register(version) + 1
    try:
        yield
    finally:
        cells[place] = before
