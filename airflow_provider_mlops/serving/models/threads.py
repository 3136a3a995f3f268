"""Names of the threads that run model code, so that a process which stops can wait for them."""

from __future__ import annotations

import threading

PREDICT = "predict"
"""Prefix of the threads that predict."""

LOAD = "load"
"""Prefix of the thread that loads models."""


def any_running() -> bool:
    """Return whether a thread that predicts, or that loads or waits for MLflow, is alive."""
    return _any((PREDICT, LOAD))


def any_predicting() -> bool:
    """Return whether a thread that predicts is alive."""
    return _any((PREDICT,))


def _any(prefixes: tuple[str, ...]) -> bool:
    return any(thread.name.startswith(prefixes) for thread in threading.enumerate())
