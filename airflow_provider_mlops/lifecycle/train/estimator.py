"""The unfitted estimator that a spec asks for: by import path and parameters, or from user code."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode, import_object

if TYPE_CHECKING:
    import numpy
    import pandas


OFFERED = ("features", "target", "parameters", "seed", "problem")
"""The arguments that user code may take."""


def from_import_path(path: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """An estimator of the class at `path`, with the seed as its `random_state` where it has one.

    Raises InvalidSpecError for a path that is no estimator with `fit` and `predict`, and for parameters that it does
    not take, with the nearest names that it does.
    """
    found = import_object(path, "estimator")
    if not inspect.isclass(found) or not hasattr(found, "fit"):
        raise InvalidSpecError(
            "estimator", path, "name a class with fit and predict, as scikit-learn's estimators have"
        )
    if not hasattr(found, "predict"):
        raise InvalidSpecError(
            "estimator",
            path,
            "it has no predict: name an estimator that predicts, and put transformers into preprocessing",
        )
    signature = inspect.signature(found)
    known = [
        name for name, parameter in signature.parameters.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    takes_any = len(known) < len(signature.parameters)
    own = {name: value for name, value in parameters.items() if "__" not in name}
    for name in own:
        if name not in known and not takes_any:
            raise InvalidSpecError("parameters", name, _nearest(found.__name__, name, known))
    if "random_state" in known and "random_state" not in own:
        own["random_state"] = seed
    _check_base(found, "estimator", path)
    try:
        estimator: Any = found(**own)
        nested = {name: value for name, value in parameters.items() if "__" in name}
        return estimator.set_params(**nested) if nested else estimator
    except (TypeError, ValueError) as error:
        raise InvalidSpecError("parameters", dict(parameters), f"{path} refuses them: {error}") from error


def from_code(
    code: UserCode,
    features: pandas.DataFrame,
    target: numpy.ndarray[Any, Any],
    *,
    parameters: Mapping[str, Any],
    seed: int,
    problem: str,
) -> Any:
    """What the user's function returns. Raises InvalidSpecError if that is no estimator."""
    built = code.call(features=features, target=target, parameters=dict(parameters), seed=seed, problem=problem)
    if inspect.isclass(built) or not (hasattr(built, "fit") and hasattr(built, "predict")):
        shown = f"the class {built.__name__} itself" if inspect.isclass(built) else type(built).__name__
        raise InvalidSpecError(
            "code",
            f"{code} returned {shown}",
            "return an object with fit and predict, such as a scikit-learn estimator",
        )
    _check_base(built, "code", f"{code} returned {type(built).__name__}")
    return built


def is_fitted(estimator: Any) -> bool:
    """Whether an estimator was fitted already."""
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


def kind_of(estimator: Any) -> str | None:
    """`classification` or `regression`, where the estimator says so itself."""
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classification"
        if is_regressor(estimator):
            return "regression"
    except (AttributeError, TypeError):
        # An estimator that does not derive from scikit-learn's base class need not say.
        return None
    return None


def _check_base(estimator: Any, field: str, value: str) -> None:
    if not hasattr(estimator, "__sklearn_tags__") or not hasattr(estimator, "get_params"):
        raise InvalidSpecError(
            field,
            value,
            "derive it from sklearn.base.BaseEstimator, so that it can be a step of a scikit-learn Pipeline",
        )


def _nearest(estimator: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"{estimator} has no such parameter; did you mean {', '.join(map(repr, near))}?"
    return f"{estimator} has no such parameter; it takes {', '.join(known)}"
