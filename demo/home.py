"""The directory of one demo under `.demo/`, held by a lock while the demo runs."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import IO

from demo.guard import Guard
from demo.sessions import end_sessions, start_time


class Home:
    """The first directory `BASE/1`, `BASE/2`, ... that no running demo holds.

    A demo that was killed holds no lock anymore, but processes that it started may still run. They are ended first,
    and the directory, with a migrated database in it, is used again.
    """

    def __init__(self, base: Path) -> None:
        number = 1
        while (lock := _try_lock(base / str(number))) is None:
            number += 1
        self._lock = lock
        self._guard = Guard()
        self.path = base / str(number)
        self._sessions = self.path / "sessions.json"
        self._end_stale()

    def remember(self, pid: int) -> None:
        """Record a process that leads its own session, so that it is ended together with this process."""
        sessions = self._read()
        sessions[str(pid)] = start_time(pid) or 0
        self._sessions.write_text(json.dumps(sessions))
        self._guard.watch(pid)

    def release(self) -> None:
        """Let another demo use the directory."""
        self._guard.release()
        self._sessions.unlink(missing_ok=True)
        self._lock.close()

    def _read(self) -> dict[str, int]:
        try:
            return dict(json.loads(self._sessions.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def _end_stale(self) -> None:
        for pid, started in self._read().items():
            # A process id may be in use again; together with its start time it is unique. The session id of a leader
            # that is gone cannot be in use again while members of the session remain.
            if start_time(int(pid)) in (started, None):
                end_sessions([int(pid)], grace=2.0)
        self._sessions.unlink(missing_ok=True)


def _try_lock(path: Path) -> IO[str] | None:
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
