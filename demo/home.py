"""A directory of one's own under `.demo/`, held by a lock for as long as its demo lives."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO


class Home:
    """The first directory `BASE/1`, `BASE/2`, ... that no living demo holds.

    A demo that was killed holds no lock any more, but what it started may still run: that is
    ended first, and its directory, with a migrated database in it, is used again.
    """

    def __init__(self, base: Path) -> None:
        number = 1
        while (lock := _try_lock(base / str(number))) is None:
            number += 1
        self._lock = lock
        self.path = base / str(number)
        self._sessions = self.path / "sessions.json"
        self._end_stale()

    def remember(self, pid: int) -> None:
        """Record a process that leads a session of its own, so that a later demo can end what is left of it."""
        sessions = self._read()
        sessions[str(pid)] = _started(pid) or 0
        self._sessions.write_text(json.dumps(sessions))

    def release(self) -> None:
        """Let another demo have the directory."""
        self._sessions.unlink(missing_ok=True)
        self._lock.close()

    def _read(self) -> dict[str, int]:
        try:
            return dict(json.loads(self._sessions.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def _end_stale(self) -> None:
        for pid, started in self._read().items():
            # A process id is used again some day; together with its start time it is not. A leader
            # that has gone leaves members whose session bears its id, which then cannot be new.
            if _started(int(pid)) in (started, None):
                end_sessions([int(pid)], grace=2.0)
        self._sessions.unlink(missing_ok=True)


def end_sessions(leaders: Collection[int], grace: float) -> None:
    """End all processes of the sessions that `leaders` lead: with SIGTERM first and SIGKILL after `grace` seconds."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        for pid in members(leaders):
            _send(pid, number)
        deadline = time.monotonic() + patience
        while members(leaders) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not members(leaders):
            return


def members(leaders: Collection[int]) -> list[int]:
    """The living processes of the sessions that `leaders` lead."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) in leaders and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _try_lock(path: Path) -> IO[str] | None:
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name: state, parent, group, session, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
