"""Fit one scikit-learn Pipeline to rows and measure it.

Preprocessing is fitted inside the Pipeline, so the model that is served is the model that was trained.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem
from airflow_provider_mlops.lifecycle.scoring.scorers import score
from airflow_provider_mlops.lifecycle.train.estimator import (
    CODE_ARGUMENTS,
    build_estimator,
    call_user_code,
    estimator_problem,
    is_fitted,
)
from airflow_provider_mlops.lifecycle.train.rows import Rows

if TYPE_CHECKING:
    import pandas

    from airflow_provider_mlops.lifecycle.train.spec import TrainSpec

log = logging.getLogger(__name__)


def resolve_problem(spec: TrainSpec, dataset: Dataset) -> Problem:
    """Return the problem that the spec names, or else that the estimator solves, or else that the target suggests.

    Raises InvalidSpecError if the spec contradicts the estimator, or for any other mistake in the spec that can be
    found without reading rows.
    """
    from airflow_provider_mlops.registry.rows import infer_problem

    _check_before_reading(spec)
    problem = None
    if spec.estimator is not None:
        problem = estimator_problem(build_estimator(spec.estimator, spec.parameters, spec.seed))
        if spec.problem is not None and problem not in (None, spec.problem):
            raise InvalidSpecError(
                "problem",
                spec.problem,
                f"the estimator {spec.estimator} is for {problem}. Remove the field problem, or use an estimator "
                f"for {spec.problem}",
            )
    if spec.problem is None and problem is None:
        problem = infer_problem(dataset.arrow([spec.target]), spec.target)
        log.info("Inferred %s from the target %s; set the field problem to override this", problem, spec.target)
    return "classification" if (spec.problem or problem) == "classification" else "regression"


def _check_before_reading(spec: TrainSpec) -> None:
    if spec.code is not None:
        spec.code.check("code", *CODE_ARGUMENTS)
    if spec.preprocessing is not None:
        spec.preprocessing.check()
    if spec.profile_uri is not None:
        Profile.read(spec.profile_uri)
    for requirement in spec.pip_requirements or ():
        _check_requirement(requirement)


def _check_requirement(requirement: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    # Only pip itself can check options, paths and URLs.
    if requirement.startswith("-") or "/" in requirement:
        return
    try:
        Requirement(requirement)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidSpecError(
            "pip_requirements",
            requirement,
            f"it must be a requirement that pip can read, for example 'scikit-learn==1.9.1' ({reason})",
        ) from error


def fit(spec: TrainSpec, rows: Rows, problem: Problem, parameters: Mapping[str, Any]) -> Any:
    """Fit a Pipeline of the preprocessing, if there is any, and the estimator.

    Raises InvalidSpecError if the estimator refuses its parameters or the rows. An error in user code keeps its type.
    """
    from sklearn.pipeline import Pipeline

    if spec.code is not None:
        with _log_warnings():
            estimator = call_user_code(
                spec.code, rows.features, rows.target, parameters=parameters, seed=spec.seed, problem=problem
            )
        if is_fitted(estimator):
            return _wrap_fitted(spec, estimator)
    else:
        # The validator of the spec makes sure that there is an estimator or code.
        estimator = build_estimator(str(spec.estimator), parameters, spec.seed)
    steps = [("estimator", estimator)]
    if spec.preprocessing is not None:
        steps.insert(0, ("preprocessing", spec.preprocessing.build(rows.features)))
    pipeline = Pipeline(steps)
    start = time.monotonic()
    with _log_warnings(), _explain_errors(spec, parameters, rows.features):
        pipeline.fit(rows.features, rows.target)
    log.debug("Fitted the pipeline in %.2f s", time.monotonic() - start)
    return pipeline


def _wrap_fitted(spec: TrainSpec, estimator: Any) -> Any:
    from sklearn.pipeline import Pipeline

    if spec.preprocessing is not None:
        raise InvalidSpecError(
            "code",
            str(spec.code),
            f"the function returned a fitted {type(estimator).__name__}, but with preprocessing it must return an "
            "unfitted estimator. Return the estimator unfitted, or remove preprocessing",
        )
    return estimator if isinstance(estimator, Pipeline) else Pipeline([("estimator", estimator)])


def measure(model: Any, rows: Rows, problem: Problem) -> dict[str, float]:
    """Return every metric of `scoring.metrics` that the rows define.

    Raises RejectedError if the model does not return one valid prediction for each row.
    """
    import numpy

    from airflow_provider_mlops.registry.model_output import ModelOutputError, predict

    try:
        predicted, probability = predict(model, rows.features)
    except ModelOutputError as error:
        hint = (
            "Impute and scale the features with preprocessing, or use other parameters"
            if error.is_numeric
            else "Correct its predict or predict_proba"
        )
        raise RejectedError(f"Rejected model {type(model.steps[-1][1]).__name__}: {error}. {hint}.") from error
    if problem == "regression":
        return score(problem, rows.target, ModelOutput(predicted.astype(numpy.float64)))
    known = list(getattr(model, "classes_", [])) or sorted(set(predicted.tolist()), key=str)
    unknown = sorted(set(rows.target.tolist()) - set(known), key=str)
    if unknown:
        log.warning(
            "The measured rows have classes that are not in the training rows, so the model never predicts them: %s",
            list_names(unknown, 10),
        )
    if probability is not None:
        probability = numpy.hstack([probability, numpy.zeros((len(probability), len(unknown)))])
    codes = {label: code for code, label in enumerate([*known, *unknown])}
    truth = numpy.array([codes[label] for label in rows.target.tolist()], dtype=numpy.int64)
    value = numpy.array([codes[label] for label in predicted.tolist()], dtype=numpy.int64)
    return score(problem, truth, ModelOutput(value, probability), len(codes))


@contextmanager
def _explain_errors(spec: TrainSpec, parameters: Mapping[str, Any], features: pandas.DataFrame) -> Iterator[None]:
    from sklearn.utils._param_validation import InvalidParameterError

    try:
        yield
    except InvalidParameterError as error:
        raise InvalidSpecError("parameters", dict(parameters), str(error)) from error
    except (TypeError, ValueError) as error:
        if spec.estimator is None:
            raise
        times = _time_columns(features)
        if times and isinstance(error, TypeError):
            raise InvalidSpecError(
                "dataset",
                spec.dataset.uri,
                f"the columns {list_names(times)} contain dates or times, which {spec.estimator} does not accept. In "
                "the prepare task, leave them out with drop, or turn them into numbers with features",
            ) from error
        if isinstance(error, TypeError):
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        infinite = _infinite_columns(features)
        if infinite and "infinity" in reason:
            raise RejectedError(
                f"Rejected dataset {spec.dataset.uri}: the columns {list_names(infinite)} contain infinite "
                f"values, which {spec.estimator} does not accept. In the prepare task, filter out the rows with "
                "these values, or replace the values in the features function."
            ) from error
        hint = f"fitting failed: {reason}"
        if spec.preprocessing is None and ("could not convert string" in reason or "NaN" in reason):
            hint += ". Set preprocessing, which encodes strings and fills missing numbers"
        raise InvalidSpecError("estimator", spec.estimator, hint) from error


def _time_columns(features: pandas.DataFrame) -> list[str]:
    from pandas.api.types import infer_dtype

    kinds = {name: infer_dtype(features[name], skipna=True) for name in features.columns}
    return [str(name) for name, kind in kinds.items() if kind.startswith(("date", "time"))]


def _infinite_columns(features: pandas.DataFrame) -> list[str]:
    import numpy

    numbers = features.select_dtypes("number")
    return [str(name) for name in numbers.columns[numpy.isinf(numbers.to_numpy()).any(axis=0)]]


@contextmanager
def _log_warnings() -> Iterator[None]:
    """Log each distinct warning of a library once, on one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            texts = (f"{warning.category.__name__}: {' '.join(str(warning.message).split())}" for warning in caught)
            for text in dict.fromkeys(texts):
                log.warning("%s", text)
