"""A model's output, checked once before anything uses it.

An estimator is other people's code: it may return too few values, objects, NaN, or probabilities that are none. The
gateway, the deploy step, train, evaluate and validate all take a model's output through this module.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.data.names import pluralize

_LARGEST_LONG = np.iinfo(np.int64).max
_SUM_TOLERANCE = 1e-3 + 1e-9
"""Permitted difference between one and the sum of a row's probabilities: boosters calculate them in 32 bits."""
_RANGE_TOLERANCE = 1e-6
_LABELS = (str, bool, int, float, date, np.bool_, np.integer, np.floating, np.datetime64)
"""Types of class labels in an array of objects. They are served as text."""


class ModelOutputError(Exception):
    """A model returned something other than one prediction for each row. The message is a clause: "it returned ...".

    Attributes
    ----------
    is_numeric
        Whether the shape is right and only numbers are not finite, which other rows or parameters may repair.
    """

    is_numeric = False


def predict(estimator: Any, features: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Return an estimator's checked predictions and, if it is a classifier that has them, probabilities.

    Raises ModelOutputError, or any exception of the estimator.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> model = GaussianNB().fit([[0.0], [1.0], [9.0], [10.0]], ["low", "low", "high", "high"])
    >>> values, probabilities = predict(model, [[9.5]])
    >>> values.tolist(), probabilities.round(3).tolist()
    (['high'], [[1.0, 0.0]])
    """
    rows, index = len(features), getattr(features, "index", None)
    # A copy for each call: an estimator that changes its input must not change the caller's rows.
    values = checked_values(estimator.predict(_copy(features)), rows, index)
    classes = getattr(estimator, "classes_", None)
    if classes is None or not hasattr(estimator, "predict_proba"):
        return values, None
    return values, checked_probabilities(estimator.predict_proba(_copy(features)), rows, len(classes), index)


def checked_values(output: Any, rows: int, index: Any = None) -> NDArray[Any]:
    """Return what `predict` returned as an array with one entry for each row.

    Parameters
    ----------
    output
        The return value, of any type.
    rows
        Number of rows that were predicted.
    index
        Index of the DataFrame that was predicted, if it was one.

    Returns
    -------
    NDArray
        Shape (rows,), or (rows, targets) for several targets: 64-bit integers or floating-point numbers, all finite,
        booleans, or text. A single column is flattened. It is a copy, because an estimator may use the memory of its
        output again for the next rows.

    Raises
    ------
    ModelOutputError
        If the output has another length or shape, or values that are not predictions.

    Examples
    --------
    >>> checked_values([[1.5], [2.5]], rows=2).tolist()
    [1.5, 2.5]
    >>> checked_values([1.5], rows=2)
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.registry.model_output.ModelOutputError: it returned 1 value for 2 rows
    """
    values = output if type(output) is np.ndarray else _as_array(output, rows, index)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 0 or len(values) != rows:
        raise ModelOutputError(f"it returned {_size(values)} for {pluralize(rows, 'row')}")
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] == 0):
        raise ModelOutputError(f"it returned an array of shape {values.shape} for {pluralize(rows, 'row')}")
    kind = values.dtype.kind
    if kind == "f":
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise _not_finite(values, "predictions")
        return values
    if kind in "ib":
        return values.copy()
    if kind == "u":
        if values.size and int(values.max()) > _LARGEST_LONG:
            raise ModelOutputError("it returned an integer of more than 64 bits")
        return values.astype(np.int64)
    return _text(values)


def checked_probabilities(output: Any, rows: int, classes: int, index: Any = None) -> NDArray[np.float64]:
    """Return a copy of what `predict_proba` returned as probabilities of shape (rows, classes).

    Raises ModelOutputError if the output has another shape, or if the values of a row are not a distribution.

    Examples
    --------
    >>> checked_probabilities([[0.25, 0.75]], rows=1, classes=2).tolist()
    [[0.25, 0.75]]
    >>> checked_probabilities([[0.25, 0.25]], rows=1, classes=2)
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.registry.model_output.ModelOutputError: it returned probabilities that add up to 0.5
    """
    values = output if type(output) is np.ndarray else _as_array(output, rows, index)
    if values.dtype.kind not in "iubf":
        raise ModelOutputError(f"it returned probabilities of type {values.dtype}")
    values = values.astype(np.float64)
    if values.shape != (rows, classes):
        raise ModelOutputError(
            f"it returned probabilities of shape {values.shape} for {pluralize(rows, 'row')} and {classes} classes"
        )
    if rows == 0:
        return values
    sums = values.sum(axis=1)
    # NaN fails all comparisons. Without a negative number, none can exceed the sum of its row.
    deviation = np.abs(sums - 1.0).max()
    if values.min() >= -_RANGE_TOLERANCE and (
        deviation <= _RANGE_TOLERANCE or (deviation <= _SUM_TOLERANCE and values.max() <= 1 + _RANGE_TOLERANCE)
    ):
        return values
    if not np.isfinite(values).all():
        raise _not_finite(values, "probabilities")
    for extreme in (values.min(), values.max()):
        if not -_RANGE_TOLERANCE <= extreme <= 1 + _RANGE_TOLERANCE:
            raise ModelOutputError(f"it returned the probability {extreme:.10g}")
    raise ModelOutputError(f"it returned probabilities that add up to {sums[np.abs(sums - 1.0).argmax()]:g}")


def _copy(features: Any) -> Any:
    return features.copy() if hasattr(features, "copy") else features


def _as_array(output: Any, rows: int, index: Any) -> NDArray[Any]:
    if np.ma.isMaskedArray(output):
        raise ModelOutputError("it returned a masked array")
    _check_order(output, rows, index)
    try:
        array = np.asarray(output)
    except Exception as error:
        raise ModelOutputError(f"it returned a {type(output).__name__} that is not an array ({error})") from error
    if array.ndim == 0:
        raise ModelOutputError(f"it returned a {type(output).__name__} instead of an array")
    return array


def _check_order(output: Any, rows: int, index: Any) -> None:
    """Raise ModelOutputError if a Series or DataFrame names the rows in another order than they were predicted in.

    Values are assigned to rows by their position. If the index of the output says something else, one of both is
    wrong, and callers would receive the predictions for other rows.
    """
    if not hasattr(output, "iloc") or len(output) != rows:
        return
    own, expected = output.index, type(output.index)(range(rows)) if index is None else index
    if own.equals(expected) or not (own.is_unique and expected.is_unique and own.isin(expected).all()):
        return
    raise ModelOutputError(f"it returned the rows in another order, as the index of its {type(output).__name__} says")


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels that are text, or objects that can be written as text."""
    kind = values.dtype.kind
    if values.ndim == 2:
        raise ModelOutputError(f"it returned {values.shape[1]} labels per row")
    if kind in "mM":
        if np.isnat(values).any():
            raise ModelOutputError("it returned a missing value")
        return values.astype(str)
    if kind == "T":
        values = values.astype(object)
        kind = "O"
    if kind not in "OUS":
        raise ModelOutputError(f"it returned values of type {values.dtype}")
    labels = values.tolist()
    if kind == "S":
        try:
            return np.array([label.decode() for label in labels])
        except UnicodeDecodeError as error:
            raise ModelOutputError(f"it returned bytes that are not UTF-8 text ({error})") from error
    if kind == "O":
        for label in labels:
            _check_label(label)
    try:
        "\n".join(map(str, labels)).encode()
    except UnicodeEncodeError as error:
        raise ModelOutputError(f"it returned text that cannot be encoded ({error})") from error
    except Exception as error:
        raise ModelOutputError(f"it returned a prediction that cannot be written as text ({error})") from error
    return values.copy()


def _check_label(label: Any) -> None:
    if label is None:
        raise ModelOutputError("it returned a missing value")
    if not isinstance(label, _LABELS):
        raise ModelOutputError(f"it returned a {type(label).__name__} as a prediction")
    if isinstance(label, str):
        return
    # NaN and NaT, of any type, are not equal to themselves.
    if label != label:
        raise ModelOutputError("it returned a missing value")
    if isinstance(label, float | np.floating) and not np.isfinite(label):
        raise ModelOutputError(f"it returned {label} as a prediction")


def _size(values: NDArray[Any]) -> str:
    return pluralize(0 if values.ndim == 0 else len(values), "value")


def _not_finite(values: NDArray[np.float64], what: str) -> ModelOutputError:
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    error = ModelOutputError(f"its {what} are not finite for {bad:,} of {pluralize(len(values), 'row')}")
    error.is_numeric = True
    return error
