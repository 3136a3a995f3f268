"""Why a model is not compiled."""

from __future__ import annotations

from typing import Any


class NotCompilableError(Exception):
    """A model has a part that cannot be compiled. The message is a clause that names it."""


def unknown(part: Any) -> NotCompilableError:
    """Return the error for an estimator or a transformer that has no arithmetic here.

    >>> print(unknown({}))
    dict has no compiled form
    """
    return NotCompilableError(f"{type(part).__name__} has no compiled form")
