"""XGBoost's trees, from the JSON in which XGBoost saves a model.

XGBoost compares in 32 bits, `value < threshold`, and also adds and exponentiates in 32 bits. So does the arithmetic
here, in the same order. Only the exponential may have another last digit, because it is the C library's there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.decision import LikeliestClass, Outcome, Values
from airflow_provider_mlops.serving.models.compiled.ensembles import Boosting, Trees
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown
from airflow_provider_mlops.serving.models.compiled.predictor import BITS_32
from airflow_provider_mlops.serving.models.compiled.tree_tables import Tree

Floats32 = NDArray[np.float32]

_IDENTITY = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_LARGEST_EXPONENT = np.float32(88.7)


def compile_xgboost(estimator: Any) -> Boosting:
    """Return the arithmetic of a fitted XGBoost estimator. Raises NotCompilableError."""
    import xgboost

    classifiers = (xgboost.XGBClassifier, xgboost.XGBRFClassifier)
    if type(estimator) not in (*classifiers, xgboost.XGBRegressor, xgboost.XGBRFRegressor):
        raise unknown(estimator)
    if not np.isnan(estimator.missing):
        raise NotCompilableError(f"XGBoost has no compiled form with missing={estimator.missing!r}")
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    kind = learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise NotCompilableError(f"XGBoost has no compiled form with the booster {kind}")
    model, parameters = learner["gradient_booster"]["model"], learner["learner_model_param"]
    if int(parameters.get("num_target", 1)) > 1:
        raise NotCompilableError("the trees have several targets")
    trees, values = [], []
    targets = max(1, int(parameters["num_class"]))
    for number, saved in enumerate(_used(estimator, model)):
        if model["tree_info"][number] != number % targets:
            raise NotCompilableError("XGBoost has no compiled form for trees in another order")
        trees.append(_tree(saved))
        values.append(np.array(saved["split_conditions"], dtype=np.float32))
    table = Trees(trees, values, int(parameters["num_feature"]), np.float32, accepts_missing=True)
    objective = learner["objective"]["name"]
    is_classifier = type(estimator) in classifiers
    if is_classifier != (objective in ("binary:logistic", "multi:softprob", "multi:softmax")):
        raise NotCompilableError(f"XGBoost has no compiled form with the objective {objective}")
    baseline = np.resize(_numbers(parameters["base_score"]), targets)
    outcome: Outcome
    if is_classifier:
        if targets == 1:
            baseline = _logit(baseline)
        outcome = LikeliestClass(estimator.classes_, _softmax if targets > 1 else _of_one)
    elif objective in _IDENTITY:
        outcome = Values()
    elif objective in _EXPONENTIAL:
        baseline = _logarithm(baseline)
        outcome = Values(_exponential)
    elif objective == "reg:logistic":
        baseline = _logit(baseline)
        outcome = Values(_logistic)
    else:
        raise NotCompilableError(f"XGBoost has no compiled form with the objective {objective}")
    return Boosting(table, baseline, outcome, tolerance=BITS_32)


def _used(estimator: Any, model: Mapping[str, Any]) -> list[Any]:
    """Return the trees with which the estimator predicts: after early stopping, not all of them."""
    best = getattr(estimator, "best_iteration", None)
    trees: list[Any] = model["trees"]
    return trees if best is None else trees[: model["iteration_indptr"][best + 1]]


def _tree(saved: Mapping[str, Any]) -> Tree:
    if any(saved["split_type"]):
        raise NotCompilableError("XGBoost has no compiled form with categorical features")
    left = np.array(saved["left_children"], dtype=np.intp)
    threshold = np.array(saved["split_conditions"], dtype=np.float32)
    # A value that is less than the threshold is at most the number before it.
    before = np.nextafter(threshold, np.float32(-np.inf)).astype(np.float64)
    return Tree(
        np.array(saved["split_indices"], dtype=np.intp),
        np.where(left < 0, 0.0, before),
        left,
        np.array(saved["right_children"], dtype=np.intp),
        np.array(saved["default_left"], dtype=bool),
    )


def _numbers(text: str) -> Floats32:
    """Return the base score: one number, or since XGBoost 3.1 a list of them.

    >>> _numbers("5E-1").tolist(), _numbers("[5E-1,2E0]").tolist()
    ([0.5], [0.5, 2.0])
    """
    return np.array(text.strip("[]").split(","), dtype=np.float32)


def _logit(probability: Floats32) -> Floats32:
    return -_logarithm(np.float32(1) / probability - np.float32(1))


def _logarithm(values: Floats32) -> Floats32:
    # As the C library: in 64 bits, then rounded. NumPy's functions of 32 bits have other last digits.
    logarithms: Floats32 = np.log(values.astype(np.float64)).astype(np.float32)
    return logarithms


def _exponential(scores: Floats32) -> Floats32:
    exponentials: Floats32 = np.exp(scores.astype(np.float64)).astype(np.float32)
    return exponentials


def _logistic(scores: Floats32) -> Floats32:
    values: Floats32 = np.float32(1) / (_exponential(np.minimum(-scores, _LARGEST_EXPONENT)) + np.float32(1))
    return values


def _of_one(scores: Floats32) -> Floats32:
    return _logistic(scores[:, 0])


def _softmax(scores: Floats32) -> Floats32:
    exponentials = _exponential(scores - scores.max(axis=1, keepdims=True))
    total = np.add.accumulate(exponentials, axis=1, dtype=np.float64)[:, -1:].astype(np.float32)
    shares: Floats32 = exponentials / total
    return shares
