"""Names of the threads that run model code, so that a process which stops can wait for them."""

from __future__ import annotations

import threading

PREDICT = "predict"
"""Prefix of the threads that predict."""

LOAD = "load"
"""Prefix of the thread that loads models."""

COMPACT = "compact"
"""Prefix of the thread that compacts the prediction log."""


def any_running() -> bool:
    """Return whether a thread that predicts, compacts, or loads or waits for MLflow, is alive."""
    return _any((PREDICT, LOAD, COMPACT))


def any_predicting() -> bool:
    """Return whether a thread that predicts is alive."""
    return _any((PREDICT,))


def _any(prefixes: tuple[str, ...]) -> bool:
    return any(thread.name.startswith(prefixes) for thread in threading.enumerate())
