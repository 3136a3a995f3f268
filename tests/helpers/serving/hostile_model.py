"""Models that return what no caller should receive, each by a number in the second column of a row."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import BaseEstimator

FIRST = 5000
"""The smallest number in the second column that is no ordinary value."""


class Lying(np.ndarray[Any, Any]):
    """An array that says it has as many values as there are rows."""

    def __len__(self) -> int:
        return 1


def _objects(*values: Any) -> Callable[[np.ndarray[Any, Any]], Any]:
    def objects(right: np.ndarray[Any, Any]) -> Any:
        output = np.empty(len(right), dtype=object)
        output[:] = [values[position % len(values)] for position in range(len(right))]
        return output

    return objects


def _first_missing(right: np.ndarray[Any, Any], dtype: str) -> Any:
    return pd.array([None, *right.tolist()[1:]], dtype=dtype)


RIGHT: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "float16": lambda right: right.astype(np.float16),
    "another byte order": lambda right: right.astype(">f8"),
    "not contiguous": lambda right: np.repeat(right, 2)[::2],
    "reversed memory": lambda right: right[::-1].copy()[::-1],
    "read-only": lambda right: np.broadcast_to(right, right.shape),
    "a column": lambda right: right.reshape(-1, 1),
    "a matrix": lambda right: np.matrix(right).T,
    "a list": lambda right: right.tolist(),
    "a tuple": lambda right: tuple(right.tolist()),
    "an index of its own": lambda right: pd.Series(right, index=[f"r{i}" for i in range(len(right))]),
    "an extension array": lambda right: pd.array(right.tolist(), dtype="Float64"),
    "integers": lambda right: right.astype(np.int64),
    "booleans times": lambda right: right * True,
}
"""Unusual forms of the right answer."""

WRONG: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "nothing": lambda right: None,
    "a number": lambda right: 1.0,
    "no dimension": lambda right: np.array(1.0),
    "text": lambda right: "yes",
    "a dictionary": lambda right: dict(enumerate(right.tolist())),
    "a set": lambda right: set(right.tolist()),
    "a generator": lambda right: (value for value in right),
    "an iterator": lambda right: iter(right.tolist()),
    "too few": lambda right: right[:-1],
    "too many": lambda right: np.append(right, 1.0),
    "none at all": lambda right: right[:0],
    "a lie about its length": lambda right: np.append(right, 1.0).view(Lying),
    "another order": lambda right: pd.Series(right).iloc[::-1] if len(right) > 1 else None,
    "two values each": lambda right: np.column_stack([right, right]),
    "columns of one name": lambda right: pd.DataFrame(np.column_stack([right, right]), columns=["y", "y"]),
    "a row": lambda right: np.column_stack([right, right, right]).T,
    "three dimensions": lambda right: right.reshape(-1, 1, 1),
    "ragged": lambda right: [[1.0], [1.0, 2.0]],
    "sparse": lambda right: scipy.sparse.csr_matrix(right).T,
    "sparse array": lambda right: scipy.sparse.coo_array(right.reshape(-1, 1)),
    "masked": lambda right: np.ma.masked_array(right, mask=[True] * len(right)),
    "masked inside a list": lambda right: [np.ma.masked] * len(right),
    "NaN in one row": lambda right: np.where(np.arange(len(right)) == 0, np.nan, right),
    "infinity": lambda right: right + np.inf,
    "a missing float": lambda right: _first_missing(right, "Float64"),
    "a missing boolean": lambda right: _first_missing(right > 0, "boolean"),
    "complex": lambda right: right + 0j,
    "dates": lambda right: right.astype("datetime64[s]"),
    "durations": lambda right: right.astype("timedelta64[s]"),
    "decimals": _objects(Decimal("1.5")),
    "arrays in an array": _objects(np.ones(2)),
    "lists in an array": _objects([1.0], [1.0, 2.0]),
    "booleans and numbers": _objects(True, 1.5),
    "missing text": _objects(None),
    "pandas NA": _objects(pd.NA),
    "pandas NaT": _objects(pd.NaT),
    "NumPy's NaT": _objects(np.datetime64("NaT")),
    "NumPy's NaN": _objects(np.float32("nan")),
    "date objects": _objects(datetime.date(2026, 1, 1)),
    "lone surrogates": _objects("\ud800"),
    "broken bytes": lambda right: np.array([b"\xff"] * len(right)),
    "huge integers": _objects(10**30),
    "large unsigned": lambda right: np.full(len(right), 2**64 - 1, dtype=np.uint64),
    "records": lambda right: np.array([(1, 2.0)] * len(right), dtype="i4,f8"),
    "the class": lambda right: np.ndarray,
}
"""What is not one number for each row."""

CODES = {name: float(FIRST + position) for position, name in enumerate([*RIGHT, *WRONG])}

PROBABILITIES: dict[str, tuple[Callable[[np.ndarray[Any, Any]], Any], bool]] = {
    "sum of 1.001": (lambda right: right * 1.001, True),
    "sum of 0.999": (lambda right: right * 0.999, True),
    "sum of 1.002": (lambda right: right * 1.002, False),
    "32 bits": (lambda right: right.astype(np.float32), True),
    "Fortran order": (np.asfortranarray, True),
    "a frame": (lambda right: pd.DataFrame(right, columns=["p", "p"]), True),
    "a frame in another order": (lambda right: pd.DataFrame(right).iloc[::-1] if len(right) > 1 else None, False),
    "one class": (lambda right: right[:, :1], False),
    "for one output each": (lambda right: [right, right], False),
    "NaN in one row": (lambda right: np.where(np.arange(len(right))[:, None] == 0, np.nan, right), False),
    "above one": (lambda right: right * 0 + [[1.5, -0.5]], False),
    "just above one": (lambda right: right * 0 + [[1.0005, 0.0]], False),
    "text": (lambda right: right.astype(str), False),
    "objects": (lambda right: right.astype(object), False),
    "complex": (lambda right: right + 0j, False),
    "sparse": (scipy.sparse.csr_matrix, False),
    "masked": (lambda right: np.ma.masked_array(right, mask=np.ones_like(right)), False),
    "too few": (lambda right: right[:-1], False),
    "nothing": (lambda right: None, False),
}
"""Forms of probabilities, and whether they are accepted."""

PROBABILITY_CODES = {name: float(FIRST + position) for position, name in enumerate(PROBABILITIES)}


class Hostile(BaseEstimator):
    """Predicts the first column of each row, in the same memory each time, and overwrites the rows it was given.

    As the champion, it returns the right answer for all numbers in the second column.
    """

    def __init__(self, is_champion: bool = False) -> None:
        self.is_champion = is_champion
        self._memory = np.zeros(100_000)

    def predict(self, features: Any) -> Any:
        rows = np.asarray(features, dtype=np.float64)
        worst = rows[:, 1].max(initial=0.0)
        output = self._memory[: len(rows)]
        output[:] = rows[:, 0]
        if hasattr(features, "iloc"):
            features.iloc[:, :] = -1.0
        else:
            features[:] = -1.0
        for name, code in CODES.items():
            if code == worst and not self.is_champion:
                return (RIGHT.get(name) or WRONG[name])(output.copy())
        return output


class HostileClassifier(BaseEstimator):
    """Predicts whether the first column is above 10, with its tenth part as the probability if it is below."""

    classes_ = np.array([0, 1])

    def __init__(self) -> None:
        self._memory = np.zeros((100_000, 2))

    def predict(self, features: Any) -> Any:
        return (np.asarray(features)[:, 0] > 10).astype(np.int64)

    def predict_proba(self, features: Any) -> Any:
        rows = np.asarray(features, dtype=np.float64)
        output = self._memory[: len(rows)]
        output[:, 1] = np.clip(rows[:, 0] / 20, 0, 1)
        output[:, 0] = 1 - output[:, 1]
        worst = rows[:, 1].max(initial=0.0)
        for name, code in PROBABILITY_CODES.items():
            if code == worst:
                return PROBABILITIES[name][0](output.copy())
        return output
