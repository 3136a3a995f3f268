"""Classes and probabilities of one classifier from one calculation of its scores.

scikit-learn's classifiers calculate the same scores for `predict` and for `predict_proba`. Here, both methods run one
after the other, and the second one reuses the scores of the first. The code that runs is scikit-learn's own, so all
results are the same, even how ties are broken.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_SHARED = ("decision_function", "predict_proba", "_joint_log_likelihood")
"""Methods that the classifiers' `predict` and `predict_proba` call for their scores."""


class SharedScores:
    """A classifier whose methods for scores are wrapped, if it is one of scikit-learn's.

    The wrapper changes the estimator, so the caller must own it and must not wrap it twice.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> scores = SharedScores(GaussianNB().fit([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1]))
    >>> classes, probabilities = scores.predict(np.array([[9.5]]))
    >>> classes.tolist(), probabilities.shape
    ([1], (1, 2))
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._remembered = threading.local()
        self._shares = type(estimator).__module__.startswith("sklearn.")
        if self._shares:
            for name in _SHARED:
                if hasattr(estimator, name):
                    self._wrap(name)

    def predict(self, features: Any) -> tuple[Any, Any]:
        """Return classes and probabilities. Raises any exception of the estimator."""
        remembered: dict[str, tuple[Any, Any]] = {}
        self._remembered.results = remembered
        try:
            # Other people's `predict` may write to its input, and `predict_proba` must get the rows as they were.
            first = features if self._shares or not hasattr(features, "copy") else features.copy()
            return self._estimator.predict(first), self._estimator.predict_proba(features)
        finally:
            self._remembered.results = None

    def _wrap(self, name: str) -> None:
        original = getattr(self._estimator, name)

        def remembering(features: Any, *arguments: Any, **options: Any) -> Any:
            results = getattr(self._remembered, "results", None)
            if results is None or arguments or options:
                return original(features, *arguments, **options)
            known = results.get(name)
            if known is not None and known[0] is features:
                # Returned only once, because some of scikit-learn's methods change the array in place.
                del results[name]
                return known[1]
            result = original(features)
            if isinstance(result, np.ndarray):
                results[name] = (features, result.copy())
            return result

        setattr(self._estimator, name, remembering)
