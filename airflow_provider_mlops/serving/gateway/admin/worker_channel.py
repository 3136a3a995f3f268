"""The channel between the workers of a gateway: a shared file to which each worker appends its changes.

All workers, including the one that made the change, apply the changes in the order of the lines. Each worker records in
its own file how far it has come, so that an admin request returns only after all workers have applied its change. A
replaced worker reads the file from its beginning.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Literal

_CHANGES = "changes.jsonl"
_POSITION = ".position"
_CHECK_SECONDS = 0.02


Action = Literal["load", "activate", "deactivate", "compact"]


@dataclass(frozen=True)
class Change:
    """A change, which is one line of the file.

    Parameters
    ----------
    action
        What to do.
    model, version
        Model and version that it concerns; without meaning for `compact`.
    champion
        For `activate`, whether the champion alias already points to this version.
    alias
        Version that the champion alias pointed to when the change was made, as far as its worker knew.
    """

    action: Action
    model: str = ""
    version: int = 0
    champion: bool = False
    alias: int | None = None


class WorkerChannel:
    """A worker's view of the channel. Create it in the worker's process."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, _CHANGES)
        self._position_path = os.path.join(directory, f"{os.getpid()}{_POSITION}")
        self._position = 0
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self.acknowledge(0)

    def announce(self, change: Change) -> int:
        """Append a change. Returns the position after it."""
        line = json.dumps(asdict(change)).encode() + b"\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, line)
            return os.fstat(file).st_size
        finally:
            os.close(file)

    def unread(self) -> list[tuple[Change, int]]:
        """Return the changes that this worker has not acknowledged, each with the position after it."""
        if os.stat(self._path).st_size <= self._position:
            return []
        with open(self._path, "rb") as file:
            file.seek(self._position)
            position = self._position
            changes = []
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                changes.append((Change(**json.loads(line)), position))
            return changes

    def acknowledge(self, position: int) -> None:
        """Record that this worker has applied all changes up to a position."""
        self._position = position
        temporary = f"{self._position_path}.tmp"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(position))
        os.replace(temporary, self._position_path)

    async def wait_until_applied(self, position: int, seconds: float) -> bool:
        """Wait until all workers have applied the changes up to a position. Returns False after `seconds`."""
        until = time.monotonic() + seconds
        while not all(applied >= position for applied in _positions(self._directory)):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_CHECK_SECONDS)
        return True


def remove_worker(directory: str, process: int) -> None:
    """Remove a worker that has exited, so that no one waits for it."""
    path = os.path.join(directory, f"{process}{_POSITION}")
    if os.path.exists(path):
        os.unlink(path)


def _positions(directory: str) -> list[int]:
    positions = []
    for name in os.listdir(directory):
        if name.endswith(_POSITION):
            try:
                with open(os.path.join(directory, name), encoding="ascii") as file:
                    positions.append(int(file.read() or 0))
            except FileNotFoundError:
                continue
    return positions
