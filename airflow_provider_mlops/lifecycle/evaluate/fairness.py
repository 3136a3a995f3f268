"""How differently a model treats the groups of a sensitive column. The measures are fairlearn's."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.evaluation import FairnessScore
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.int64] | NDArray[np.float64]

CLASSIFICATION: Mapping[str, str] = {
    "demographic_parity_difference": "Largest difference between groups in the share predicted positive.",
    "demographic_parity_ratio": "Smallest share predicted positive in a group over the largest.",
    "equalized_odds_difference": "Largest difference between groups in true or in false positive rate.",
    "equalized_odds_ratio": "Smallest ratio between groups of true or of false positive rates.",
    "equal_opportunity_difference": "Largest difference between groups in true positive rate.",
    "accuracy_difference": "Largest difference between groups in accuracy.",
}
REGRESSION: Mapping[str, str] = {
    "mean_prediction_difference": "Largest difference between groups in the mean prediction.",
    "mean_error_difference": "Largest difference between groups in the mean of prediction minus truth.",
    "mae_difference": "Largest difference between groups in mean absolute error.",
}
FAIRNESS: Mapping[str, str] = {**CLASSIFICATION, **REGRESSION}
"""Every fairness measure by its name, and what it means. A difference is best at 0 and a ratio at 1."""

NEEDS_BOTH_CLASSES = frozenset({"equalized_odds_difference", "equalized_odds_ratio", "equal_opportunity_difference"})
"""Measures that say nothing of a group in which a class does not occur."""


def fairness_named(name: str, field: str = "metric") -> str:
    """`name`, if a fairness measure is called so. Raises InvalidSpecError with the nearest names for any other."""
    if name in FAIRNESS:
        return name
    near = difflib.get_close_matches(name, FAIRNESS, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"use one of {', '.join(FAIRNESS)}"
    raise InvalidSpecError(field, name, f"there is no such fairness measure; {hint}")


def fairness(
    problem: Problem, truth: Values, predicted: Values, classes: int, column: str, labels: NDArray[np.object_]
) -> FairnessScore:
    """Measure one sensitive column, without intervals.

    With more than two classes each class in turn is the positive one, and the worst of them is reported.

    :param truth: of shape (rows,): class codes, or numbers.
    :param predicted: as `truth`.
    :param labels: the group of each row, of shape (rows,).
    """
    import numpy as np

    groups = np.asarray(labels, dtype=str)
    if problem == "regression":
        return _regression(truth, predicted, column, groups)
    codes = [1] if classes == 2 else list(range(classes))
    seen = [code for code in codes if (truth == code).any() or (predicted == code).any()]
    measured = [_one_class(truth == code, predicted == code, groups) for code in seen or codes[:1]]
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
    """The worst of the classes for which the measure is defined; NaN if it is for none."""
    defined = [value for value in values if math.isfinite(value)]
    if not defined:
        return math.nan
    return min(defined) if name.endswith("ratio") else max(defined)


def _one_class(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], groups: NDArray[Any]) -> dict[str, float]:
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
    """Selection and error rates of one group; those that its rows do not define are left out."""
    rates = {"selection_rate": float(predicted.mean())}
    if truth.any():
        rates["true_positive_rate"] = float(predicted[truth].mean())
    if not truth.all():
        rates["false_positive_rate"] = float(predicted[~truth].mean())
    return rates


def _regression(truth: Values, predicted: Values, column: str, groups: NDArray[Any]) -> FairnessScore:
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
