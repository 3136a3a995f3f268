"""The memory of a process, and whether the kernel has killed processes because memory ran out."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process; 0 if it has ended.

    >>> resident_bytes(os.getpid()) > 1_000_000
    True
    """
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def out_of_memory_kills() -> int:
    """Return how many processes the kernel has killed so far because memory ran out, as far as it says so.

    >>> out_of_memory_kills() >= 0
    True
    """
    kills = 0
    for path in _COUNTERS:
        try:
            text = path.read_text()
        except OSError:
            continue
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                kills += int(value)
    return kills
