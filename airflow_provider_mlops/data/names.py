"""Names in messages: short lists, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def list_names(names: Sequence[str], max_names: int = 20) -> str:
    """Return the names in quotes, separated by commas, and how many more there are.

    >>> list_names(["a", "b", "c"], max_names=2)
    "'a', 'b' and 1 more"
    """
    listed = ", ".join(repr(name) for name in names[:max_names])
    return f"{listed} and {len(names) - max_names} more" if len(names) > max_names else listed


def suggest_column(name: str, columns: Iterable[str]) -> str:
    """Return a sentence that suggests the column that was probably meant, or else lists the columns.

    >>> suggest_column("agee", ["age", "town"])
    "Did you mean 'age'?"
    >>> suggest_column("x", ["age", "town"])
    "The columns are 'age', 'town'."
    """
    known = list(columns)
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {nearest[0]!r}?" if nearest else f"The columns are {list_names(known)}."
