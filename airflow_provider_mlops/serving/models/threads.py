"""Names of the threads that run model code, so that a process which stops can wait for them."""

from __future__ import annotations

import threading

PREDICT = "predict"
"""Prefix of the threads that predict."""

LOAD = "load"
"""Prefix of the thread that loads models."""


def any_running() -> bool:
    """Return whether a thread that predicts or loads is alive."""
    return any(thread.name.startswith((PREDICT, LOAD)) for thread in threading.enumerate())
