"""A process that cannot outlive its parent, and whose output is read as it comes."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable

# Loaded here: between fork and exec nothing may be loaded.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child calls first, so that the kernel kills it when `parent` dies: None where the kernel cannot.

    A task that is killed with SIGKILL runs no handler, so nothing else could.
    """
    if _LIBC is None:
        return None
    libc = _LIBC

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return before_exec


def read_until_end(process: subprocess.Popen[bytes], feed: Callable[[bytes], None], patience: float = 1.0) -> None:
    """Pass on the process's output as it comes, until the process has ended and nothing more comes.

    What the process has started may hold its output open for longer: that is not waited for.
    """
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(patience):
                chunk = os.read(process.stdout.fileno(), 65_536)
                if not chunk:
                    return
                feed(chunk)
            elif process.poll() is not None:
                return
