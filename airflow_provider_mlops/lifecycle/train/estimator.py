"""Build the unfitted estimator that a spec names, by import path and parameters or with user code."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode, import_object

if TYPE_CHECKING:
    import numpy
    import pandas


CODE_ARGUMENTS = ("features", "target", "parameters", "seed", "problem")
"""The arguments that user code may take."""


def build_estimator(path: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """Return an unfitted estimator of the class at `path`, with `seed` as its `random_state` if it takes one.

    Raises InvalidSpecError if the path does not name an estimator with `fit` and `predict`, or if the estimator does
    not accept a parameter.
    """
    cls = import_object(path, "estimator")
    if not inspect.isclass(cls) or not hasattr(cls, "fit"):
        raise InvalidSpecError(
            "estimator",
            path,
            "it must be a class with fit and predict, for example 'sklearn.linear_model.LogisticRegression'",
        )
    if not hasattr(cls, "predict"):
        raise InvalidSpecError(
            "estimator", path, "it must have a predict method. Put transformers into preprocessing instead"
        )
    signature = inspect.signature(cls)
    known = [
        name for name, parameter in signature.parameters.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    accepts_any = len(known) < len(signature.parameters)
    own = {name: value for name, value in parameters.items() if "__" not in name}
    for name in own:
        if name not in known and not accepts_any:
            raise InvalidSpecError("parameters", name, f"{cls.__name__} has no such parameter. {suggest(name, known)}")
    if "random_state" in known and "random_state" not in own:
        own["random_state"] = seed
    _check_fits_pipeline(cls, "estimator", path)
    try:
        estimator: Any = cls(**own)
        nested = {name: value for name, value in parameters.items() if "__" in name}
        return estimator.set_params(**nested) if nested else estimator
    except (TypeError, ValueError) as error:
        raise InvalidSpecError("parameters", dict(parameters), f"{path} does not accept them: {error}") from error


def call_user_code(
    code: UserCode,
    features: pandas.DataFrame,
    target: numpy.ndarray[Any, Any],
    *,
    parameters: Mapping[str, Any],
    seed: int,
    problem: str,
) -> Any:
    """Call the user's function and return its estimator. Raises InvalidSpecError if it returns anything else."""
    returned = code.call(features=features, target=target, parameters=dict(parameters), seed=seed, problem=problem)
    if inspect.isclass(returned) or not (hasattr(returned, "fit") and hasattr(returned, "predict")):
        described = f"the class {returned.__name__}" if inspect.isclass(returned) else type(returned).__name__
        raise InvalidSpecError(
            "code",
            str(code),
            "the function must return an object with fit and predict, for example LogisticRegression(), not "
            f"{described}",
        )
    _check_fits_pipeline(returned, "code", str(code))
    return returned


def is_fitted(estimator: Any) -> bool:
    """Return whether an estimator is already fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    if isinstance(estimator, Pipeline):
        return is_fitted(estimator.steps[-1][1])
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


def estimator_problem(estimator: Any) -> str | None:
    """Return `classification` or `regression` if the estimator declares one of them, else None."""
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classification"
        if is_regressor(estimator):
            return "regression"
    except (AttributeError, TypeError):
        # An estimator that does not derive from scikit-learn's base class may not declare it.
        return None
    return None


def _check_fits_pipeline(estimator: Any, field: str, value: str) -> None:
    if not hasattr(estimator, "__sklearn_tags__") or not hasattr(estimator, "get_params"):
        raise InvalidSpecError(
            field,
            value,
            f"the estimator {type(estimator).__name__} must derive from sklearn.base.BaseEstimator to be a step of a "
            "scikit-learn Pipeline",
        )
