"""How a model is to be asked: how many rows at once, and whether on the event loop or in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.rows.rows import Rows

QUICK_SECONDS = 0.001
"""What takes longer than this for a row is predicted in a thread."""
ADDED_SECONDS = 0.005
"""By how much the others that are predicted together may delay a request."""
MAXIMUM_ROWS = 256
_TRIALS = 5
_MANY = 64


@dataclass(frozen=True)
class BatchProfile:
    """What was measured.

    :ivar seconds: what one row takes by itself.
    :ivar batch_rows: how many rows of several requests are predicted together at most; 1 for each request by itself.
    :ivar quick: whether it may predict on the event loop.
    """

    seconds: float
    batch_rows: int
    quick: bool


def measure(estimator: Any, predict: Callable[[Rows], Any], rows: Rows, *, by_array: bool) -> BatchProfile:
    """Try a model on some rows that it can predict.

    It is given rows of several requests at once only if it says the same of each as when it is alone: it was seen to do
    so with these rows, or it is made of nothing but scikit-learn's own parts. Only the latter predict on the event
    loop: their time depends on the number of rows and not on what is in them.
    """
    own = is_scikit_learns_own(estimator)
    one = rows.slice(0, 1)
    seconds = _seconds(predict, one)
    if not own and not (rows.count > 1 and _says_the_same(predict, rows)):
        return BatchProfile(seconds, 1, False)
    each = max(0.0, _seconds(predict, Rows.concatenate([one] * _MANY)) - seconds) / (_MANY - 1)
    batch_rows = MAXIMUM_ROWS if each * MAXIMUM_ROWS <= ADDED_SECONDS else max(1, 1 + int(ADDED_SECONDS / each))
    return BatchProfile(seconds, batch_rows, own and by_array and seconds <= QUICK_SECONDS)


def is_scikit_learns_own(estimator: Any) -> bool:
    """Whether nothing but scikit-learn's own code runs in an estimator: no class and no function of somebody else.

    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> is_scikit_learns_own(make_pipeline(StandardScaler(), LinearRegression()))
    True
    >>> is_scikit_learns_own(make_pipeline(FunctionTransformer(abs), LinearRegression()))
    False
    """
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    for part in parts:
        if isinstance(part, list | tuple):
            parts += part
        elif (callable(part) and not isinstance(part, type)) or (
            hasattr(part, "get_params") and not type(part).__module__.startswith("sklearn.")
        ):
            return False
    return type(estimator).__module__.startswith("sklearn.")


def _seconds(predict: Callable[[Rows], Any], rows: Rows) -> float:
    """The shortest of a few trials, fewer where they take long."""
    best = float("inf")
    until = time.perf_counter() + 0.05
    for _ in range(_TRIALS):
        began = time.perf_counter()
        predict(rows)
        now = time.perf_counter()
        best = min(best, now - began)
        if now > until:
            break
    return best


def _says_the_same(predict: Callable[[Rows], Any], rows: Rows) -> bool:
    together = predict(rows)
    for place in range(rows.count):
        alone = predict(rows.slice(place, place + 1))
        if not _same(together.output[place : place + 1], alone.output):
            return False
        if alone.probabilities is not None and not np.allclose(
            together.probabilities[place], alone.probabilities[0], rtol=1e-9, atol=1e-12, equal_nan=True
        ):
            return False
    return True


def _same(one: list[Any], other: list[Any]) -> bool:
    try:
        return bool(np.allclose(np.array(one), np.array(other), rtol=1e-9, atol=1e-12, equal_nan=True))
    except TypeError:
        return one == other
