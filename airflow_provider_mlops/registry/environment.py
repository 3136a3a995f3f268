"""Environment variables that are set for the duration of one call to MLflow.

MLflow reads credentials, timeouts and the number of retries from the environment whenever it makes a request. If they
stayed set, one connection's password would leak into everything else that the process does and starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_condition = threading.Condition()
_current: dict[str, str | None] | None = None
_holders = 0
_saved: dict[str, str | None] = {}


@contextmanager
def lend(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables inside the `with` block (None unsets one), and restore them afterwards.

    Threads with the same settings run at the same time, and blocks with the same settings can be nested. A thread with
    other settings waits until those have left their blocks.

    >>> with lend({"MLFLOW_TRACKING_TOKEN": "secret"}):
    ...     os.environ["MLFLOW_TRACKING_TOKEN"]
    'secret'
    >>> "MLFLOW_TRACKING_TOKEN" in os.environ
    False
    """
    if not settings:
        yield
        return
    _enter(dict(settings))
    try:
        yield
    finally:
        _leave()


def _enter(settings: dict[str, str | None]) -> None:
    global _current, _holders
    with _condition:
        _condition.wait_for(lambda: _holders == 0 or _current == settings)
        if _holders == 0:
            _current = settings
            _saved.clear()
            _saved.update({name: os.environ.get(name) for name in settings})
            _set_variables(settings)
        _holders += 1


def _leave() -> None:
    global _current, _holders
    with _condition:
        _holders -= 1
        if _holders == 0:
            _set_variables(_saved)
            _current = None
            _condition.notify_all()


def _set_variables(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
