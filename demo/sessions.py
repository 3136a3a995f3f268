"""Processes by the session that they belong to: children of children are found, too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path


def end_sessions(leaders: Collection[int], grace: float) -> None:
    """End all processes of the sessions that `leaders` lead: with SIGTERM, and with SIGKILL after `grace` seconds."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        for pid in members(leaders):
            _send(pid, number)
        deadline = time.monotonic() + patience
        while members(leaders) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not members(leaders):
            return


def members(leaders: Collection[int]) -> list[int]:
    """Return the living processes of the sessions that `leaders` lead."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in processes if (fields := stat(pid)) and int(fields[3]) in leaders and fields[0] != "Z"]


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None if there is no such process."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command's name: state, parent, group, session, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
