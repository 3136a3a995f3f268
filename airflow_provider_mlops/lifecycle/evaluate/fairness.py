"""Differences in how a model treats the groups of a sensitive column, as fairlearn measures them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.scoring.evaluation import FairnessScore
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.int64] | NDArray[np.float64]

CLASSIFICATION: Mapping[str, str] = {
    "demographic_parity_difference": "Largest difference between groups in the share of rows predicted positive.",
    "demographic_parity_ratio": "Smallest share of rows predicted positive in a group, divided by the largest.",
    "equalized_odds_difference": "Largest difference between groups in true positive rate or in false positive rate.",
    "equalized_odds_ratio": "Smallest ratio between groups of true positive rates or of false positive rates.",
    "equal_opportunity_difference": "Largest difference between groups in true positive rate.",
    "accuracy_difference": "Largest difference between groups in accuracy.",
}
REGRESSION: Mapping[str, str] = {
    "mean_prediction_difference": "Largest difference between groups in the mean prediction.",
    "mean_error_difference": "Largest difference between groups in the mean of predicted minus true value.",
    "mae_difference": "Largest difference between groups in mean absolute error.",
}
FAIRNESS: Mapping[str, str] = {**CLASSIFICATION, **REGRESSION}
"""All fairness measures by name, with their meaning. The best value of a difference is 0, that of a ratio is 1."""

NEEDS_BOTH_CLASSES = frozenset({"equalized_odds_difference", "equalized_odds_ratio", "equal_opportunity_difference"})
"""Measures that are not defined for a group in which one of the classes does not occur."""


def check_fairness_name(name: str) -> None:
    """Raise FieldError for the field `metric`, with the nearest names, if there is no such fairness measure."""
    if name not in FAIRNESS:
        raise FieldError("metric", f"it must be a fairness measure. {suggest(name, FAIRNESS)}")


def fairness(
    problem: Problem, truth: Values, predicted: Values, classes: int, column: str, labels: NDArray[np.object_]
) -> FairnessScore:
    """Measure fairness for one sensitive column, without intervals.

    With more than two classes, each class in turn is the positive one, and the worst value is reported.

    Parameters
    ----------
    truth, predicted
        Shape (rows,): class codes, or numbers for regression.
    labels
        Group of each row, of shape (rows,).
    """
    import numpy as np

    groups = np.asarray(labels, dtype=str)
    if problem == "regression":
        return _measure_regression(truth, predicted, column, groups)
    codes = [1] if classes == 2 else list(range(classes))
    seen = [code for code in codes if (truth == code).any() or (predicted == code).any()]
    measured = [_measure_class(truth == code, predicted == code, groups) for code in seen or codes[:1]]
    metrics = {name: _worst(name, [measures[name] for measures in measured]) for name in measured[0]}
    hit = (truth == predicted).astype(np.float64)
    parts: dict[str, dict[str, float]] = {}
    for group in np.unique(groups):
        inside = groups == group
        parts[str(group)] = {"rows": float(inside.sum()), "accuracy": float(hit[inside].mean())}
        parts[str(group)]["rarest_class_rows"] = float(min((truth[inside] == code).sum() for code in range(classes)))
        if classes == 2:
            parts[str(group)] |= _rates(truth[inside] == 1, predicted[inside] == 1)
    accuracies = [part["accuracy"] for part in parts.values()]
    metrics["accuracy_difference"] = max(accuracies) - min(accuracies)
    return FairnessScore(column=column, metrics=_finite(metrics), groups=parts)


def _worst(name: str, values: list[float]) -> float:
    """Return the worst value of a measure over the classes that define it; NaN if none does."""
    defined = [value for value in values if math.isfinite(value)]
    if not defined:
        return math.nan
    return min(defined) if name.endswith("ratio") else max(defined)


def _measure_class(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], groups: NDArray[Any]) -> dict[str, float]:
    from fairlearn import metrics

    measures: dict[str, Callable[..., float]] = {
        "demographic_parity_difference": metrics.demographic_parity_difference,
        "demographic_parity_ratio": metrics.demographic_parity_ratio,
        "equalized_odds_difference": metrics.equalized_odds_difference,
        "equalized_odds_ratio": metrics.equalized_odds_ratio,
        "equal_opportunity_difference": metrics.equal_opportunity_difference,
    }
    both = {"y_true": truth.astype(int), "y_pred": predicted.astype(int), "sensitive_features": groups}
    return {name: float(measure(**both)) for name, measure in measures.items()}


def _rates(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, float]:
    """Return the selection and error rates of one group that its rows define."""
    rates = {"selection_rate": float(predicted.mean())}
    if truth.any():
        rates["true_positive_rate"] = float(predicted[truth].mean())
    if not truth.all():
        rates["false_positive_rate"] = float(predicted[~truth].mean())
    return rates


def _measure_regression(truth: Values, predicted: Values, column: str, groups: NDArray[Any]) -> FairnessScore:
    import numpy as np
    from fairlearn.metrics import MetricFrame, count, mean_prediction
    from sklearn.metrics import mean_absolute_error

    measures: dict[str, Callable[..., float]] = {
        "rows": count,
        "mean_prediction": mean_prediction,
        "mean_error": lambda y_true, y_pred: float(np.mean(y_pred - y_true)),
        "mae": mean_absolute_error,
    }
    frame = MetricFrame(metrics=measures, y_true=truth, y_pred=predicted, sensitive_features=groups)
    difference = frame.difference(method="between_groups")
    return FairnessScore(
        column=column,
        metrics=_finite({f"{name}_difference": float(difference[name]) for name in measures if name != "rows"}),
        groups={
            str(group): {name: float(value) for name, value in row.items()} for group, row in frame.by_group.iterrows()
        },
    )


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
