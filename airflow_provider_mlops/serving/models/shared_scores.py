"""Classes and probabilities of one classifier for the price of one.

scikit-learn's classifiers work out the same scores for `predict` and for `predict_proba`. Here both are called as they
are, one after the other, and what they have in common is remembered in between. It is scikit-learn's own code that
runs, so that whatever it says of the rows, such as how it breaks a tie, is what it says here.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_SHARED = ("decision_function", "predict_proba", "_joint_log_likelihood")
"""What `predict` or `predict_proba` of some classifier or other calls for its scores."""


class SharedScores:
    """Predicts with an estimator, whose methods for scores it wraps if the estimator is one of scikit-learn's.

    The estimator must belong to the caller, and to one wrapper only.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._remembered = threading.local()
        if type(estimator).__module__.startswith("sklearn."):
            for name in _SHARED:
                if hasattr(estimator, name):
                    self._wrap(name)

    def predict(self, features: Any) -> tuple[Any, Any]:
        """Classes and probabilities. Raises whatever the estimator raises."""
        remembered: dict[str, tuple[Any, Any]] = {}
        self._remembered.results = remembered
        try:
            return self._estimator.predict(features), self._estimator.predict_proba(features)
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
                # Handed out once: some of scikit-learn's methods go on working in the array that they were given.
                del results[name]
                return known[1]
            result = original(features)
            if isinstance(result, np.ndarray):
                results[name] = (features, result.copy())
            return result

        setattr(self._estimator, name, remembering)
