"""A child process that cannot outlive its parent, and whose output is read while it runs."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable

# Loaded here, since nothing may be loaded between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return a function that a child calls first, so that the kernel kills it when `parent` dies.

    Only the kernel can do that, since a task that is killed with SIGKILL runs no handler. Returns None on platforms
    other than Linux.
    """
    if _LIBC is None:
        return None
    libc = _LIBC

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl was called
            os._exit(1)

    return before_exec


def read_until_end(process: subprocess.Popen[bytes], feed: Callable[[bytes], None], patience: float = 1.0) -> None:
    """Pass the process's output on to `feed` while it runs, until it has ended and no more output comes.

    Processes that it has started may keep its output open for longer; the function does not wait for them. `patience`
    is the time in seconds to wait for output before checking whether the process has ended.
    """
    output = process.stdout
    if output is None:
        raise ValueError("The process must be started with stdout=subprocess.PIPE.")
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if selector.select(patience):
                chunk = os.read(output.fileno(), 65_536)
                if not chunk:
                    return
                feed(chunk)
            elif process.poll() is not None:
                return
