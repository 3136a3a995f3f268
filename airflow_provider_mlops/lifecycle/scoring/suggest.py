"""Hints that offer valid names next to an invalid one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str], most: int = 12) -> str:
    """Return the nearest known names as a question, or the first known names if none is near.

    >>> suggest("agee", ["age", "income"])
    "Did you mean 'age'?"
    >>> suggest("town", ["age", "income"])
    "Use one of 'age', 'income'"
    """
    names = list(known)
    near = [repr(match) for match in difflib.get_close_matches(name, names, n=3, cutoff=0.5)]
    if near:
        return f"Did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[:-1] else near)}?"
    return f"Use one of {list_names(names, most)}"


def list_names(names: Iterable[str], most: int = 12) -> str:
    """Return the names in quotes, the first `most` of them and how many more there are.

    >>> list_names(["age", "income", "town"], most=2)
    "'age', 'income' and 1 more"
    """
    quoted = [repr(name) for name in names]
    if len(quoted) <= most:
        return ", ".join(quoted)
    return f"{', '.join(quoted[:most])} and {len(quoted) - most} more"
