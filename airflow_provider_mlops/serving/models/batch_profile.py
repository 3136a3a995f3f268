"""The measured speed of a model: how many rows to predict at once, and whether on the event loop or in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.rows.rows import Rows

QUICK_SECONDS = 0.001
"""A model that takes longer than this for one row predicts in a thread."""
ADDED_SECONDS = 0.005
"""Maximum delay of a request by other requests in its batch."""
MAX_ROWS = 256
_TRIALS = 5
_BATCH = 64


@dataclass(frozen=True)
class BatchProfile:
    """The measured speed of a model.

    Parameters
    ----------
    seconds
        Time for one row on its own.
    batch_rows
        Maximum number of rows of several requests that are predicted together; 1 if each request is predicted alone.
    quick
        Whether the model may predict on the event loop.
    """

    seconds: float
    batch_rows: int
    quick: bool


def measure(estimator: Any, predict: Callable[[Rows], Any], rows: Rows, *, by_array: bool) -> BatchProfile:
    """Measure a model on some rows that it can predict.

    The model gets rows of several requests at once only if its prediction for a row does not depend on the other rows.
    That is so if a trial with these rows shows it, or if the estimator consists only of scikit-learn's own code. Only
    the latter may predict on the event loop, because its time depends on the number of rows and not on their content.
    """
    own = is_scikit_learns_own(estimator)
    first = rows.slice(0, 1)
    seconds = _seconds(predict, first)
    if not own and not (rows.count > 1 and _is_independent(predict, rows)):
        return BatchProfile(seconds, 1, False)
    per_row = max(0.0, _seconds(predict, Rows.concatenate([first] * _BATCH)) - seconds) / (_BATCH - 1)
    batch_rows = MAX_ROWS if per_row * MAX_ROWS <= ADDED_SECONDS else max(1, 1 + int(ADDED_SECONDS / per_row))
    return BatchProfile(seconds, batch_rows, own and by_array and seconds <= QUICK_SECONDS)


def is_scikit_learns_own(estimator: Any) -> bool:
    """Return whether an estimator consists only of scikit-learn's own classes and functions.

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


def may_change_input(estimator: Any) -> bool:
    """Return whether an estimator may write to the rows that it predicts.

    scikit-learn's own estimators do so only if one of their parameters permits it.

    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> may_change_input(make_pipeline(StandardScaler(), LinearRegression()))
    False
    >>> may_change_input(make_pipeline(StandardScaler(copy=False), LinearRegression()))
    True
    """
    if not is_scikit_learns_own(estimator):
        return True
    parameters = estimator.get_params(deep=True)
    return any(value is False for name, value in parameters.items() if name.rpartition("__")[2].startswith("copy"))


def _seconds(predict: Callable[[Rows], Any], rows: Rows) -> float:
    """Return the shortest time of a few trials; slow models get fewer trials."""
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


def _is_independent(predict: Callable[[Rows], Any], rows: Rows) -> bool:
    """Return whether the prediction for each row is the same alone as together with the others."""
    together = predict(rows)
    for row in range(rows.count):
        alone = predict(rows.slice(row, row + 1))
        if not _same(together.output[row : row + 1], alone.output):
            return False
        if alone.probabilities is not None and not np.allclose(
            together.probabilities[row], alone.probabilities[0], rtol=1e-9, atol=1e-12, equal_nan=True
        ):
            return False
    return True


def _same(first: list[Any], second: list[Any]) -> bool:
    try:
        return bool(np.allclose(np.array(first), np.array(second), rtol=1e-9, atol=1e-12, equal_nan=True))
    except TypeError:
        return first == second
