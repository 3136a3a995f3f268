"""Whether a request belongs to a rollout's cohort, by a header or by a column of its first row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_mlops.serving.rollouts.plan.cohort import Cohort
from airflow_provider_mlops.serving.rollouts.value_text import as_text


class CohortMembers:
    """The requests of a cohort.

    A header matches if its value, or one of several values that are separated by commas, is a value of the cohort.
    Bytes beyond ASCII are read as UTF-8 and as Latin-1, because clients send either. A field matches by its text;
    numbers also match as numbers, so that 1, 1.0 and the text "1" are the same for a column of numbers. A header that
    is missing and a field without a value never match.

    Examples
    --------
    >>> staff = CohortMembers(Cohort(name="X-Group", values=["staff"]))
    >>> staff.include({b"x-group": b"beta, staff"}), staff.include({b"x-group": b"Staff"}), staff.include({})
    (True, False, False)
    >>> first = CohortMembers(Cohort(source="field", name="tier", values=[1]))
    >>> [first.include({}, {"tier": tier}.get) for tier in (1, 1.0, "1", True, None)]
    [True, True, True, False, False]
    """

    def __init__(self, cohort: Cohort) -> None:
        self.field = cohort.name if cohort.source == "field" else None
        self._header = cohort.name.lower().encode("latin-1", "replace")
        self._encoded = frozenset(_encodings(cohort.values))
        self._texts = frozenset(cohort.values)
        self._numbers = frozenset(_numbers(cohort.values))

    def include(self, headers: Mapping[bytes, bytes], field: Callable[[str], Any] = lambda name: None) -> bool:
        """Return whether a request belongs to the cohort.

        Parameters
        ----------
        headers
            Headers with names in lower case; the values of a repeated header are separated by commas.
        field
            Function that returns the value of a column in the request's first row, or None if there is none.
        """
        if self.field is None:
            header = headers.get(self._header)
            return header is not None and self._includes_header(header)
        value = field(self.field)
        if value is None:
            return False
        # `True == 1` in Python, but a boolean is not a number to the users who write the values.
        return as_text(value) in self._texts or (type(value) in (int, float) and value in self._numbers)

    def _includes_header(self, header: bytes) -> bool:
        if header in self._encoded or header.strip() in self._encoded:
            return True
        return b"," in header and any(part.strip() in self._encoded for part in header.split(b","))


def _encodings(values: tuple[str, ...]) -> list[bytes]:
    encoded = []
    for value in values:
        for encoding in ("utf-8", "latin-1"):
            try:
                encoded.append(value.encode(encoding))
            except UnicodeEncodeError:
                continue
    return encoded


def _numbers(values: tuple[str, ...]) -> list[int | float]:
    """Return the values that are numbers, without rounding large integers to floating-point numbers."""
    numbers = []
    for value in values:
        try:
            number = json.loads(value)
        except ValueError:
            continue
        if type(number) in (int, float) and math.isfinite(number):
            numbers.append(number)
    return numbers
