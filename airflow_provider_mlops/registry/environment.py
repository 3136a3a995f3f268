"""Settings that MLflow takes from environment variables only, lent to it for the time of one call.

MLflow reads credentials, timeouts and the number of retries from the environment whenever it makes
a request. Setting them for good would leak one connection's password into everything else that the
process does and starts.
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
    """Set environment variables (None unsets one) inside the `with` block, and put back what was there.

    Threads that lend the same settings run side by side, and a block may contain another with the
    same settings. A thread with other settings waits until those have left.

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
            _put(settings)
        _holders += 1


def _leave() -> None:
    global _current, _holders
    with _condition:
        _holders -= 1
        if _holders == 0:
            _put(_saved)
            _current = None
            _condition.notify_all()


def _put(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
