"""An estimator divided into transformers and a final predictor, so that classes and probabilities share their work."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.registry.model_output import checked_probabilities, checked_values
from airflow_provider_mlops.serving.models.shared_scores import SharedScores

Prediction = tuple[NDArray[Any], NDArray[np.float64] | None]
"""Values or classes, and probabilities if the estimator predicts them; checked."""


class SplitEstimator:
    """The steps of a Pipeline, or any other estimator as its only step.

    For one request, the transformers run once, although the estimator predicts classes and probabilities.

    Parameters
    ----------
    classes
        Number of classes with probabilities; 0 if the estimator has none.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit([[0.0], [1.0]], [1.0, 3.0])
    >>> SplitEstimator(pipeline, classes=0).predict(np.array([[2.0]]))[0].round(6).tolist()
    [5.0]
    """

    def __init__(self, estimator: Any, classes: int) -> None:
        self.transformers, self.final = _split(estimator)
        self._classes = classes
        self._scores = SharedScores(self.final) if classes else None
        self._knows_names = hasattr(estimator, "feature_names_in_")

    def predict(self, features: Any) -> Prediction:
        """Predict a DataFrame or an array. Raises ModelOutputError, or any exception of the estimator."""
        if self._knows_names and isinstance(features, np.ndarray):
            # scikit-learn warns about an array without names. It is used only if it makes no difference.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                return self._predict(features)
        return self._predict(features)

    def _predict(self, features: Any) -> Prediction:
        rows = len(features)
        for transformer in self.transformers:
            features = transformer.transform(features)
        index = getattr(features, "index", None)
        if self._scores is None:
            return checked_values(self.final.predict(features), rows, index), None
        output, probabilities = self._scores.predict(features)
        return (
            checked_values(output, rows, index),
            checked_probabilities(probabilities, rows, self._classes, index),
        )


def _split(estimator: Any) -> tuple[list[Any], Any]:
    from sklearn.pipeline import Pipeline

    if type(estimator) is Pipeline and len(estimator.steps) > 1 and estimator.steps[-1][1] not in (None, "passthrough"):
        transformers = [step for _, step in estimator.steps[:-1] if step is not None and step != "passthrough"]
        return transformers, estimator.steps[-1][1]
    return [], estimator
