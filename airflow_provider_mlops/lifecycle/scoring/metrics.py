"""The metrics of an evaluation: their names, their meaning, and whether higher or lower is better."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import FieldError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]

Problem: TypeAlias = Literal["classification", "regression"]
PROBLEMS: tuple[Problem, ...] = ("classification", "regression")


@dataclass(frozen=True)
class Metric:
    """A metric of models for one problem.

    Parameters
    ----------
    name
        Name in results, gates and MLflow.
    problem
        Problem of the models that it measures.
    greater_is_better
        Whether higher is better (True), lower is better (False), or closer to zero is better (None).
    meaning
        One sentence for the report.
    needs_probability
        Whether it requires a model that gives probabilities.
    """

    name: str
    problem: Problem
    greater_is_better: bool | None
    meaning: str
    needs_probability: bool = False

    def gain(self, value: float, over: float) -> float:
        """Return how much better `value` is than `over`; negative if it is worse.

        >>> METRICS["rmse"].gain(2.0, over=3.0), METRICS["accuracy"].gain(0.75, over=0.5)
        (1.0, 0.25)
        """
        if self.greater_is_better is None:
            return abs(over) - abs(value)
        return value - over if self.greater_is_better else over - value


_CLASSIFICATION = (
    Metric("accuracy", "classification", True, "Share of rows with the correct class predicted."),
    Metric("balanced_accuracy", "classification", True, "Mean recall over the classes."),
    Metric(
        "precision",
        "classification",
        True,
        "Share of the rows predicted positive that are positive; mean over the classes if there are more than two.",
    ),
    Metric(
        "recall",
        "classification",
        True,
        "Share of the positive rows that are predicted positive; mean over the classes if there are more than two.",
    ),
    Metric(
        "f1",
        "classification",
        True,
        "Harmonic mean of precision and recall; mean over the classes if there are more than two.",
    ),
    Metric(
        "matthews_correlation",
        "classification",
        True,
        "Correlation of true and predicted classes: 1 is perfect, 0 is no better than chance.",
    ),
    Metric(
        "roc_auc",
        "classification",
        True,
        "Area under the ROC curve: probability that a positive row ranks above a negative row; with more than two "
        "classes, mean over each class against the rest.",
        True,
    ),
    Metric(
        "average_precision",
        "classification",
        True,
        "Area under the precision-recall curve, as a sum of steps; mean over the classes if there are more than two.",
        True,
    ),
    Metric(
        "log_loss",
        "classification",
        False,
        "Mean negative logarithm of the probability predicted for the true class.",
        True,
    ),
    Metric("brier_score", "classification", False, "Mean squared error of the predicted probabilities.", True),
    Metric(
        "calibration_error",
        "classification",
        False,
        "Expected calibration error: mean distance between predicted probability and observed frequency, over ten "
        "bins of equal width.",
        True,
    ),
)
_REGRESSION = (
    Metric("rmse", "regression", False, "Root mean squared error, in units of the target."),
    Metric("mae", "regression", False, "Mean absolute error, in units of the target."),
    Metric("median_absolute_error", "regression", False, "Median absolute error, in units of the target."),
    Metric("r2", "regression", True, "Share of the variance of the target that the model explains."),
    Metric("mean_error", "regression", None, "Bias: mean of predicted minus true value, in units of the target."),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_CLASSIFICATION, *_REGRESSION)}
"""All metrics by name."""

CALIBRATION_BINS = 10


def metric_named(name: str) -> Metric:
    """Return the metric called `name`, for validators. Raises FieldError for the field `metric` if there is none.

    >>> metric_named("log_los")
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.FieldError: it must be a metric of the evaluate step. Did you mean 'log_loss'?
    """
    if name not in METRICS:
        raise FieldError(
            "metric", f"it must be a metric of the evaluate step. {suggest(name, METRICS, max_names=len(METRICS))}"
        )
    return METRICS[name]


def main_metric(problem: Problem, available: Container[str]) -> Metric:
    """Return the metric that models are compared by if no other is chosen.

    For classification, this is the area under the ROC curve, which does not depend on a threshold or on the class
    shares, or balanced accuracy for a model without probabilities. For regression, it is R², which has no unit.
    """
    order = ("roc_auc", "balanced_accuracy") if problem == "classification" else ("r2", "rmse")
    return METRICS[next((name for name in order if name in available), order[-1])]


@dataclass(frozen=True)
class ModelOutput:
    """The predictions of one model for a number of rows.

    Parameters
    ----------
    value
        Shape (rows,): class codes as int64, or numbers as float64.
    probability
        Shape (rows, classes), or None for regression and for models that give no probabilities.
    """

    value: NDArray[np.int64] | NDArray[np.float64]
    probability: Floats | None = None

    def take(self, rows: Integers) -> ModelOutput:
        """Return the predictions for the given rows."""
        return ModelOutput(self.value[rows], None if self.probability is None else self.probability[rows])
