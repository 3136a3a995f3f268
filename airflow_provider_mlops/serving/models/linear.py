"""The arithmetic of scikit-learn's linear models, without scikit-learn's checks.

For one row, scikit-learn spends about twenty times as long checking its input as calculating. The gateway has already
checked the rows. For the most common models (a linear or logistic regression, with or without a StandardScaler), it
therefore applies the same operations to the same arrays in the same order. It does so only if their results equal
scikit-learn's to the last bit for about a hundred rows. If a result is not finite, scikit-learn predicts the rows, and
may refuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Predict = Callable[[Floats], tuple[NDArray[Any], Floats | None]]

_TRIED_ROWS = (1, 2, 7, 32, 64)


class Linear:
    """A linear model: scaling, then a matrix product. Built by `of`.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    >>> linear = Linear.of([], model, np.array([[0.0]]), lambda rows: (model.predict(rows), None))
    >>> linear.predict(np.array([[2.0]]))[0].round(6).tolist()
    [5.0]
    """

    def __init__(self, scales: Sequence[tuple[Floats | None, Floats | None]], estimator: Any, classifies: bool) -> None:
        self._scales = scales
        self._coefficients = estimator.coef_.T if estimator.coef_.ndim == 2 else estimator.coef_
        self._intercept = estimator.intercept_
        self._classes = estimator.classes_ if classifies else None

    @classmethod
    def of(cls, transformers: Sequence[Any], estimator: Any, example: Floats, predict: Predict) -> Linear | None:
        """Return the arithmetic of a model; None if it is another kind of model, or if the results differ.

        Parameters
        ----------
        predict
            Function that predicts with scikit-learn, for comparison.
        """
        from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
        from sklearn.preprocessing import StandardScaler

        if any(type(transformer) is not StandardScaler for transformer in transformers):
            return None
        if type(estimator) not in (ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge):
            return None
        if not isinstance(estimator.coef_, np.ndarray) or estimator.coef_.dtype != np.float64:
            return None
        if any(transformer.get_params().get("copy") is False for transformer in transformers):
            return None
        scales = [
            (step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None) for step in transformers
        ]
        linear = cls(scales, estimator, type(estimator) is LogisticRegression)
        return linear if linear._agrees(example, predict) else None

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""
        for mean, scale in self._scales:
            if mean is not None:
                features = features - mean
            if scale is not None:
                features = features / scale
        scores = features @ self._coefficients + self._intercept
        if not np.isfinite(scores).all():
            return None
        if self._classes is None:
            return scores, None
        if scores.ndim > 1 and scores.shape[1] == 1:
            scores = scores.reshape(-1)
        if scores.ndim == 1:
            output = self._classes.take((scores > 0).astype(np.intp), axis=0)
            probabilities = np.empty((len(scores), 2))
            expit(scores, out=probabilities[:, 1])
            np.subtract(1, probabilities[:, 1], out=probabilities[:, 0])
            return output, probabilities
        output = self._classes.take(scores.argmax(axis=1), axis=0)
        exponentials = np.exp(scores - scores.max(axis=1).reshape(-1, 1))
        return output, exponentials / exponentials.sum(axis=1).reshape(-1, 1)

    def _agrees(self, example: Floats, predict: Predict) -> bool:
        """Return whether the results equal those of `predict` for the example and for random rows around it."""
        random = np.random.default_rng(0)
        spread = np.abs(example).max(axis=0) + 1.0
        for count in _TRIED_ROWS:
            rows = random.normal(example[:1], spread, (count, example.shape[1]))
            rows[: len(example)] = example[:count]
            expected, expected_probabilities = predict(rows.copy())
            prediction = self.predict(rows)
            if prediction is None:
                return False
            output, probabilities = prediction
            if output.dtype != expected.dtype or not np.array_equal(output, expected):
                return False
            if (probabilities is None) != (expected_probabilities is None):
                return False
            if probabilities is not None and not np.array_equal(probabilities, np.asarray(expected_probabilities)):
                return False
        return True
