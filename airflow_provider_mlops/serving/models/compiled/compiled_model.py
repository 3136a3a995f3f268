"""A model as arithmetic, from checked rows to checked predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from airflow_provider_mlops.registry.model_output import ModelOutputError, checked_probabilities, checked_values
from airflow_provider_mlops.serving.models.compiled import verification
from airflow_provider_mlops.serving.models.compiled.ensembles import compile_trees
from airflow_provider_mlops.serving.models.compiled.lightgbm_trees import compile_lightgbm
from airflow_provider_mlops.serving.models.compiled.linear import LinearModel
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.models.compiled.predictor import Predictor
from airflow_provider_mlops.serving.models.compiled.preprocessing import Preprocessing, flatten
from airflow_provider_mlops.serving.models.compiled.xgboost_trees import compile_xgboost
from airflow_provider_mlops.serving.models.split_estimator import Prediction
from airflow_provider_mlops.serving.rows.rows import Rows

_SURELY_FINE = 1e-6


class CompiledModel:
    """The arithmetic of a fitted Pipeline or estimator. Make one with `of`."""

    def __init__(self, preprocessing: Preprocessing, predictor: Predictor, classes: int) -> None:
        self.preprocessing = preprocessing
        self.predictor = predictor
        self._classes = classes

    @classmethod
    def of(
        cls,
        estimator: Any,
        example: Rows,
        judge: Callable[[Rows], Prediction],
        *,
        classes: int,
        gets_array: bool,
    ) -> CompiledModel:
        """Compile a fitted model and verify it.

        Raises NotCompilableError if the model has a part that has no compiled form, or if a result differs.

        Parameters
        ----------
        example
            Rows that the model accepts. Their schema says where values may be missing.
        judge
            Function that predicts rows with scikit-learn.
        classes
            Number of classes with probabilities; 0 if the model has none.
        gets_array
            Whether scikit-learn gets the rows as an array instead of a DataFrame.

        Examples
        --------
        >>> from sklearn.linear_model import LinearRegression
        >>> from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
        >>> model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
        >>> rows = Rows(InputSchema((Feature("x", "double"),)), 1, matrix=np.array([[2.0]]))
        >>> judge = lambda rows: (model.predict(rows.array()), None)
        >>> compiled = CompiledModel.of(model, rows, judge, classes=0, gets_array=True)
        >>> compiled.predict(rows)[0].round(6).tolist()
        [5.0]
        """
        steps = flatten(estimator)
        if not steps:
            raise NotCompilableError("the Pipeline has no estimator")
        *transformers, final = steps
        # First, because it rejects most of what cannot be compiled.
        predictor = compile_estimator(final, probabilities=classes > 0)
        compiled = cls(Preprocessing(transformers, example.schema, gets_array), predictor, classes)
        if getattr(final, "n_features_in_", compiled.preprocessing.width) != compiled.preprocessing.width:
            raise NotCompilableError("the preprocessing has another number of outputs than the estimator has inputs")
        # For single rows, more threads take longer.
        with threadpool_limits(1):
            verification.verify_estimator(final, predictor)
            verification.verify_preprocessing(compiled.preprocessing, transformers, example, gets_array=gets_array)
            verification.verify_model(
                compiled.predict, judge, example, compiled.preprocessing.known_values, predictor.tolerance
            )
        return compiled

    def predict(self, rows: Rows) -> Prediction | None:
        """Return the model's checked predictions; None if scikit-learn must predict. Raises ModelOutputError."""
        with np.errstate(all="ignore"):
            features = self.preprocessing.features(rows)
            prediction = None if features is None else self.predictor.predict(features)
        if prediction is None:
            return None
        output, probabilities = prediction
        if len(output) != rows.count:
            raise ModelOutputError(f"it returned {len(output)} values for {rows.count} rows")
        if probabilities is not None and not (rows.count == 1 and _is_distribution(probabilities[0].tolist())):
            probabilities = checked_probabilities(probabilities, rows.count, self._classes)
        # Classes were checked when the model was compiled.
        if output.dtype.kind == "f":
            output = checked_values(output, rows.count)
        return output, probabilities


def compile_estimator(final: Any, probabilities: bool) -> Predictor:
    """Return the arithmetic of the last step of a Pipeline, not verified. Raises NotCompilableError."""
    library = type(final).__module__.partition(".")[0]
    if library == "xgboost":
        return compile_xgboost(final)
    if library == "lightgbm":
        return compile_lightgbm(final)
    if hasattr(final, "coef_"):
        return LinearModel(final, probabilities)
    return compile_trees(final, probabilities)


def _is_distribution(values: list[float]) -> bool:
    """Return whether probabilities are surely right; if not, `checked_probabilities` decides."""
    return min(values) >= 0.0 and abs(sum(values) - 1.0) <= _SURELY_FINE
