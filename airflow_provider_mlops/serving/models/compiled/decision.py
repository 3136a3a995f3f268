"""The values, or the classes and probabilities, that follow from scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from airflow_provider_mlops.registry.model_output import checked_values
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError


class Outcome(Protocol):
    """The meaning of scores."""

    def of(self, scores: NDArray[Any]) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities, of scores; None if the model itself must predict."""


class Values:
    """Scores that are a regressor's values, or values after a function such as the exponential.

    Examples
    --------
    >>> Values(np.exp).of(np.array([[0.0], [1000.0]])) is None
    True
    >>> Values().of(np.array([[0.0], [1000.0]]))[0].tolist()
    [0.0, 1000.0]
    """

    def __init__(self, function: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> None:
        self._function = function

    def of(self, scores: NDArray[Any]) -> tuple[NDArray[Any], Floats | None] | None:
        """Return the values of scores of shape (rows, 1); None if one is not finite."""
        values = scores[:, 0]
        if self._function is not None:
            with np.errstate(over="ignore"):
                values = self._function(values)
            if not np.isfinite(values).all():
                return None
        return values, None


class LikeliestClass:
    """How XGBoost and LightGBM decide: by the probabilities, not by the scores.

    Parameters
    ----------
    classes
        The estimator's `classes_`.
    probabilities
        Function from scores of shape (rows, targets) to probabilities: those of the second of two classes if there is
        one target, and otherwise of all classes.
    """

    def __init__(self, classes: Any, probabilities: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self._classes = checked_classes(classes)
        self._probabilities = probabilities

    def of(self, scores: NDArray[Any]) -> tuple[NDArray[Any], Floats | None] | None:
        """Return classes and probabilities of finite scores."""
        probabilities = self._probabilities(scores)
        if scores.shape[1] == 1:
            probabilities = np.column_stack([1 - probabilities, probabilities])
        return self._classes.take(probabilities.argmax(axis=1), axis=0), probabilities.astype(np.float64, copy=False)


class Decision:
    """How a classifier decides by its scores.

    Parameters
    ----------
    classes
        The estimator's `classes_`.
    zero_is_positive
        Whether a score of zero means the second of two classes.
    probabilities
        Whether the classifier has probabilities: the logistic function of one score, the softmax of several.

    Examples
    --------
    >>> Decision(np.array(["no", "yes"]), zero_is_positive=False, probabilities=True).of(np.array([0.0, 2.0]))[0]
    array(['no', 'yes'], dtype='<U3')
    """

    def __init__(self, classes: Any, *, zero_is_positive: bool, probabilities: bool) -> None:
        self._classes = checked_classes(classes)
        self._zero_is_positive = zero_is_positive
        self._probabilities = probabilities

    def of(self, scores: Floats) -> tuple[NDArray[Any], Floats | None]:
        """Return classes and probabilities of finite scores of shape (rows,), (rows, 1) or (rows, classes)."""
        if scores.ndim > 1 and scores.shape[1] == 1:
            scores = scores.reshape(-1)
        if scores.ndim == 1:
            positive = scores >= 0 if self._zero_is_positive else scores > 0
            output = self._classes.take(positive.view(np.int8), axis=0)
            if not self._probabilities:
                return output, None
            probabilities = np.empty((len(scores), 2))
            expit(scores, out=probabilities[:, 1])
            np.subtract(1, probabilities[:, 1], out=probabilities[:, 0])
            return output, probabilities
        output = self._classes.take(scores.argmax(axis=1), axis=0)
        if not self._probabilities:
            return output, None
        exponentials = np.exp(scores - scores.max(axis=1).reshape(-1, 1))
        return output, exponentials / exponentials.sum(axis=1).reshape(-1, 1)


def checked_classes(classes: Any) -> NDArray[Any]:
    """Return classes as predictions have them. Raises NotCompilableError, or ModelOutputError for unusual ones."""
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
        raise NotCompilableError("the classifier has several targets, or a single class")
    return checked_values(classes, len(classes))
