"""Ends what a demo or a benchmark has started, however that one ended: `python -m demo.guard`.

It reads the ids of session leaders from standard input, one per line. The end of the input means that the process that
wrote them is gone, be it by an exception, a signal or SIGKILL; a line `stopped` means that it has ended them itself.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from demo.sessions import end_sessions


class Guard:
    """The guard process, as the process that it watches sees it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def watch(self, pid: int) -> None:
        """Have a session ended when this process is gone."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.guard"],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self._write(str(pid))

    def release(self) -> None:
        """Let the guard go: everything was ended."""
        if self._process is not None and self._process.stdin is not None:
            self._write("stopped")
            self._process.stdin.close()
            self._process.wait(30)
            self._process = None

    def _write(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def keep_watch(lines: Iterable[str]) -> list[int]:
    """Return the leaders that are left when the lines end.

    >>> keep_watch(["12\\n", "34\\n"]), keep_watch(["12\\n", "stopped\\n"])
    ([12, 34], [])
    """
    leaders: list[int] = []
    for line in lines:
        if line.strip() == "stopped":
            leaders.clear()
        else:
            leaders.append(int(line))
    return leaders


def main() -> None:
    """Wait for the end of the input, and end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_sessions(keep_watch(sys.stdin), grace=10.0)


if __name__ == "__main__":
    main()
