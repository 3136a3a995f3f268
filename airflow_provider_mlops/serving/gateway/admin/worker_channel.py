"""What workers tell each other: a file to which every change of the routing is appended, and that all of them read.

The order of the lines is the order in which every worker carries the changes out, its own too. Each says in a file of
its own how far it has come, so that whoever administers the gateway is answered once all have followed. A worker that
is started anew reads the file from its beginning.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass

_CHANGES = "changes.jsonl"
_POSITION = ".position"
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Change:
    """One line.

    :ivar what: `load`, `activate`, `deactivate` or `compact`.
    :ivar champion: for `activate`, whether the champion alias is at this version already.
    :ivar alias: where the champion alias was when the change was made, as far as the worker knew that made it.
    """

    what: str
    model: str = ""
    version: int = 0
    champion: bool = False
    alias: int | None = None


class WorkerChannel:
    """One worker's view of the file. Make it where the worker runs."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, _CHANGES)
        self._position_path = os.path.join(directory, f"{os.getpid()}{_POSITION}")
        self._position = 0
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self.acknowledge(0)

    def announce(self, change: Change) -> int:
        """Append a change. Returns the position behind it."""
        line = json.dumps(asdict(change)).encode() + b"\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, line)
            return os.fstat(file).st_size
        finally:
            os.close(file)

    def unread(self) -> list[tuple[Change, int]]:
        """The changes behind the position up to which this worker has followed, each with the position behind it."""
        if os.stat(self._path).st_size <= self._position:
            return []
        with open(self._path, "rb") as file:
            file.seek(self._position)
            position = self._position
            found = []
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                found.append((Change(**json.loads(line)), position))
            return found

    def acknowledge(self, position: int) -> None:
        """Say that this worker has followed up to a position."""
        self._position = position
        temporary = f"{self._position_path}.tmp"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(position))
        os.replace(temporary, self._position_path)

    async def wait_until_applied(self, position: int, seconds: float) -> bool:
        """Wait until every worker has come to a position, but not for ever. Returns whether they have."""
        until = time.monotonic() + seconds
        while not all(place >= position for place in _positions(self._directory)):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True


def forget(directory: str, process: int) -> None:
    """Wait no longer for a worker that has died."""
    path = os.path.join(directory, f"{process}{_POSITION}")
    if os.path.exists(path):
        os.unlink(path)


def _positions(directory: str) -> list[int]:
    found = []
    for name in os.listdir(directory):
        if name.endswith(_POSITION):
            try:
                with open(os.path.join(directory, name), encoding="ascii") as file:
                    found.append(int(file.read() or 0))
            except FileNotFoundError:
                continue
    return found
