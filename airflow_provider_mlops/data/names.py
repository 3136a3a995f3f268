"""Names and counts in messages: short lists, the nearest valid names, and plurals."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def list_names(names: Iterable[object], max_names: int = 20) -> str:
    """Return the names in quotes, separated by commas, and how many more there are.

    >>> list_names(["a", "b", "c"], max_names=2)
    "'a', 'b' and 1 more"
    """
    quoted = [repr(name) for name in names]
    listed = ", ".join(quoted[:max_names])
    return f"{listed} and {len(quoted) - max_names} more" if len(quoted) > max_names else listed


def pluralize(count: int, noun: str) -> str:
    """Return the count and the noun, which is plural unless the count is one.

    >>> pluralize(1, "row"), pluralize(1200, "row"), pluralize(2, "class")
    ('1 row', '1,200 rows', '2 classes')
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return a question that offers the nearest valid names; empty if none is near.

    >>> did_you_mean("agee", ["age", "income"])
    "Did you mean 'age'?"
    """
    nearest = difflib.get_close_matches(name, list(valid), n=2)
    return f"Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""


def suggest(name: str, valid: Iterable[str], max_names: int = 20) -> str:
    """Return a sentence that offers the nearest valid names, or lists the valid ones if none is near.

    >>> suggest("agee", ["age", "income"])
    "Did you mean 'age'?"
    >>> suggest("town", ["age", "income"])
    "Use one of 'age', 'income'"
    """
    names = list(valid)
    listed = f"Use one of {list_names(names, max_names)}" if names else "None is available"
    return did_you_mean(name, names) or listed


def must_be_a_column(name: str, columns: Iterable[str], of: str = "the dataset") -> str:
    """Return the hint for a field that names a column which does not exist.

    >>> must_be_a_column("agee", ["age", "income"])
    "it must be a column of the dataset. Did you mean 'age'?"
    """
    return f"it must be a column of {of}. {suggest(name, columns)}"
