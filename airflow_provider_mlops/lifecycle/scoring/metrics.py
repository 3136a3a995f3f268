"""The metrics of an evaluation: what each is called and which way is better, and their numbers on rows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]

Problem: TypeAlias = Literal["classification", "regression"]
PROBLEMS: tuple[Problem, ...] = ("classification", "regression")


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: as it appears in results, gates and MLflow.
    :param problem: what it measures models of.
    :param greater_is_better: which way is better. None where neither is, as for a bias around zero.
    :param meaning: one sentence for the report.
    :param needs_probability: whether it is only there for models that give probabilities.
    """

    name: str
    problem: Problem
    greater_is_better: bool | None
    meaning: str
    needs_probability: bool = False

    def gain(self, value: float, over: float) -> float:
        """By how much `value` is better than `over`; negative where it is worse.

        >>> METRICS["rmse"].gain(2.0, over=3.0), METRICS["accuracy"].gain(0.75, over=0.5)
        (1.0, 0.25)
        """
        if self.greater_is_better is None:
            return abs(over) - abs(value)
        return value - over if self.greater_is_better else over - value


_CLASSIFICATION = (
    Metric("accuracy", "classification", True, "Share of rows whose class is predicted."),
    Metric("balanced_accuracy", "classification", True, "Mean over the classes of the share of their rows found."),
    Metric(
        "precision",
        "classification",
        True,
        "Share of the rows predicted positive that are; mean over classes if more than two.",
    ),
    Metric(
        "recall",
        "classification",
        True,
        "Share of the positive rows that are found; mean over classes if more than two.",
    ),
    Metric("f1", "classification", True, "Harmonic mean of precision and recall; mean over classes if more than two."),
    Metric("matthews_correlation", "classification", True, "Correlation of truth and prediction: 1 perfect, 0 chance."),
    Metric(
        "roc_auc",
        "classification",
        True,
        "Probability that a positive row ranks above a negative one; with more classes, mean of each against the rest.",
        True,
    ),
    Metric(
        "average_precision",
        "classification",
        True,
        "Area under the precision-recall steps; mean over classes if more than two.",
        True,
    ),
    Metric(
        "log_loss",
        "classification",
        False,
        "Mean of minus the logarithm of the probability given to the true class.",
        True,
    ),
    Metric("brier_score", "classification", False, "Mean squared error of the probabilities.", True),
    Metric(
        "calibration_error",
        "classification",
        False,
        "Expected calibration error: mean distance of confidence and frequency, over ten bins of equal width.",
        True,
    ),
)
_REGRESSION = (
    Metric("rmse", "regression", False, "Root of the mean squared error, in units of the target."),
    Metric("mae", "regression", False, "Mean absolute error, in units of the target."),
    Metric("median_absolute_error", "regression", False, "Median absolute error, in units of the target."),
    Metric("r2", "regression", True, "Share of the target's variance that is explained."),
    Metric("mean_error", "regression", None, "Mean of prediction minus truth, in units of the target: the bias."),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_CLASSIFICATION, *_REGRESSION)}
"""Every metric by its name."""

CALIBRATION_BINS = 10


def metric_named(name: str, field: str = "metric") -> Metric:
    """The metric called `name`. Raises InvalidSpecError with the nearest names for any other.

    >>> metric_named("log_los")
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: metric='log_los': there is no such metric; did you mean 'log_loss'?
    """
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"use one of {', '.join(METRICS)}"
    raise InvalidSpecError(field, name, f"there is no such metric; {hint}")


def main_metric(problem: Problem, available: object) -> Metric:
    """What a model is compared by if nobody says otherwise.

    For classification the area under the ROC curve, which no choice of threshold moves and which neither
    class dominates, or balanced accuracy for a model without probabilities; for regression R², which has no unit.
    """
    order = ("roc_auc", "balanced_accuracy") if problem == "classification" else ("r2", "rmse")
    return METRICS[next((name for name in order if name in available), order[-1])]  # type: ignore[operator]


@dataclass(frozen=True)
class ModelOutput:
    """What one model says of the rows.

    :param value: of shape (rows,): class codes as int64, or numbers as float64.
    :param probability: of shape (rows, classes), or None for regression and for models that give none.
    """

    value: NDArray[np.int64] | NDArray[np.float64]
    probability: Floats | None = None

    def take(self, rows: Integers) -> ModelOutput:
        """Those of some rows."""
        return ModelOutput(self.value[rows], None if self.probability is None else self.probability[rows])
