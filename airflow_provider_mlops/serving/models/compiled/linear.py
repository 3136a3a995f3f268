"""Linear models: a matrix product, and what the model makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.decision import Decision
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown
from airflow_provider_mlops.serving.models.compiled.predictor import BITS_64


class LinearModel:
    """The arithmetic of a fitted linear model: the same operations as scikit-learn's, in the same order.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    >>> LinearModel(model, probabilities=False).predict(np.array([[2.0]]))[0].round(6).tolist()
    [5.0]
    """

    tolerance: float = BITS_64

    def __init__(self, estimator: Any, probabilities: bool) -> None:
        kind = _kind(estimator)
        coefficients, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
        if coefficients.dtype != np.float64 or not np.isfinite(coefficients).all() or not np.isfinite(intercept).all():
            raise NotCompilableError(f"{type(estimator).__name__} has coefficients that are not finite 64-bit numbers")
        self._coefficients = coefficients.T if coefficients.ndim == 2 else coefficients
        self._intercept: Any = intercept if intercept.ndim else float(intercept)
        self._exponentiates = kind == "log link"
        self._decision = None
        if kind == "classifier":
            self._decision = Decision(estimator.classes_, zero_is_positive=False, probabilities=probabilities)

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""
        scores = features @ self._coefficients + self._intercept
        if not np.isfinite(scores).all():
            return None
        if self._decision is not None:
            return self._decision.of(scores)
        if self._exponentiates:
            scores = np.exp(scores)
            if not np.isfinite(scores).all():
                return None
        return scores, None

    def edges(self) -> Floats | None:
        """Return no rows: a linear model treats all rows alike."""
        return None


def _kind(estimator: Any) -> str:
    from sklearn import linear_model, svm

    regressors = (
        linear_model.ElasticNet,
        linear_model.ElasticNetCV,
        linear_model.HuberRegressor,
        linear_model.Lasso,
        linear_model.LassoCV,
        linear_model.LinearRegression,
        linear_model.Ridge,
        linear_model.RidgeCV,
        linear_model.SGDRegressor,
        svm.LinearSVR,
    )
    classifiers = (
        linear_model.LogisticRegression,
        linear_model.LogisticRegressionCV,
        linear_model.Perceptron,
        linear_model.RidgeClassifier,
        svm.LinearSVC,
    )
    if type(estimator) in regressors:
        return "regressor"
    if type(estimator) in classifiers:
        return "classifier"
    if type(estimator) in (linear_model.PoissonRegressor, linear_model.GammaRegressor):
        return "log link"
    raise unknown(estimator)
