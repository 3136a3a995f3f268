"""LightGBM's trees, from the model that LightGBM dumps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from airflow_provider_mlops.serving.models.compiled.decision import LikeliestClass, Outcome, Values
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats
from airflow_provider_mlops.serving.models.compiled.ensembles import Boosting, Trees
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown
from airflow_provider_mlops.serving.models.compiled.tree_tables import Tree

_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_EXPONENTIAL = ("poisson", "gamma", "tweedie")
_ZERO = float(np.float32(1e-35))
"""LightGBM takes numbers whose absolute value is at most this for zero."""


def compile_lightgbm(estimator: Any) -> Boosting:
    """Return the arithmetic of a fitted LightGBM estimator. Raises NotCompilableError."""
    import lightgbm

    is_classifier = type(estimator) is lightgbm.LGBMClassifier
    if not is_classifier and type(estimator) is not lightgbm.LGBMRegressor:
        raise unknown(estimator)
    # As many iterations as the estimator uses, also after early stopping.
    model = estimator.booster_.dump_model()
    if model.get("average_output"):
        raise NotCompilableError("LightGBM has no compiled form for random forests")
    if estimator.get_params().get("pred_early_stop"):
        raise NotCompilableError("LightGBM has no compiled form with pred_early_stop")
    trees, values = [], []
    for saved in model["tree_info"]:
        nodes = _Nodes(saved["tree_structure"])
        trees.append(nodes.tree())
        values.append(np.array(nodes.values))
    table = Trees(trees, values, model["max_feature_idx"] + 1, np.float64, accepts_missing=True)
    baseline = np.zeros(model["num_tree_per_iteration"])
    return Boosting(table, baseline, _outcome(estimator, str(model.get("objective", "")), is_classifier))


def _outcome(estimator: Any, objective: str, is_classifier: bool) -> Outcome:
    name, *options = objective.split()
    if is_classifier and name == "binary":
        sigmoid = float(dict(option.split(":") for option in options)["sigmoid"])
        return LikeliestClass(estimator.classes_, lambda scores: _logistic(sigmoid * scores))
    if is_classifier and name == "multiclass":
        return LikeliestClass(estimator.classes_, lambda scores: np.asarray(softmax(scores, axis=1)))
    if not is_classifier and name in _IDENTITY and "sqrt" not in options:
        return Values()
    if not is_classifier and name in _EXPONENTIAL:
        return Values(np.exp)
    raise NotCompilableError(f"LightGBM has no compiled form with the objective {objective!r}")


def _logistic(scores: Floats) -> Floats:
    values: Floats = expit(scores[:, 0])
    return values


class _Nodes:
    """The nodes of a dumped tree, numbered from the root on."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.values: list[float] = []
        self._features: list[int] = []
        self._thresholds: list[float] = []
        self._missing_left: list[bool] = []
        self._children: list[list[int]] = []
        waiting: list[tuple[Mapping[str, Any], tuple[int, int] | None]] = [(root, None)]
        while waiting:
            node, parent = waiting.pop()
            number = len(self.values)
            if parent is not None:
                self._children[parent[0]][parent[1]] = number
            self._add(node)
            if "split_feature" in node:
                waiting.append((node["right_child"], (number, 1)))
                waiting.append((node["left_child"], (number, 0)))

    def _add(self, node: Mapping[str, Any]) -> None:
        self._children.append([-1, -1])
        if "split_feature" not in node:
            if "leaf_coeff" in node or "leaf_const" in node:
                raise NotCompilableError("LightGBM has no compiled form with linear_tree")
            feature, threshold, missing_left = 0, 0.0, False
        else:
            if node["decision_type"] != "<=":
                raise NotCompilableError("LightGBM has no compiled form with categorical features")
            if node["missing_type"] not in ("None", "NaN"):
                raise NotCompilableError("LightGBM has no compiled form with zero_as_missing")
            feature, threshold = int(node["split_feature"]), float(node["threshold"])
            if -_ZERO <= threshold < 0:
                threshold = float(np.nextafter(-_ZERO, -np.inf))
            elif 0 <= threshold < _ZERO:
                threshold = _ZERO
            # If no value was missing in training, a missing one is taken for zero.
            missing_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0
        self.values.append(float(node.get("leaf_value", 0.0)))
        self._features.append(feature)
        self._thresholds.append(threshold)
        self._missing_left.append(missing_left)

    def tree(self) -> Tree:
        children: NDArray[np.intp] = np.array(self._children, dtype=np.intp)
        return Tree(
            np.array(self._features, dtype=np.intp),
            np.array(self._thresholds),
            children[:, 0],
            children[:, 1],
            np.array(self._missing_left),
        )
