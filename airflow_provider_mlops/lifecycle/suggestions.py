"""Names to offer in an error message when a name is not valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from airflow_provider_mlops.data.names import list_names


def suggest(name: str, valid: Iterable[str], nouns: str = "valid names") -> str:
    """Return a sentence that offers the nearest valid names, or lists them all if none is near.

    >>> suggest("aeg", ["age", "income"])
    "Did you mean 'age'?"
    >>> suggest("town", ["age", "income"], "columns")
    "The columns are 'age', 'income'."
    """
    names = list(valid)
    nearest = difflib.get_close_matches(name, names, n=2)
    if nearest:
        return f"Did you mean {' or '.join(map(repr, nearest))}?"
    return f"The {nouns} are {list_names(names)}." if names else f"There are no {nouns}."


def must_be_a_column(name: str, columns: Iterable[str], of: str = "the dataset") -> str:
    """Return the hint for a field that names a column which does not exist.

    >>> must_be_a_column("aeg", ["age", "income"])
    "it must be a column of the dataset. Did you mean 'age'?"
    """
    return f"it must be a column of {of}. {suggest(name, columns, 'columns')}"
