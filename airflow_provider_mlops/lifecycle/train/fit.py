"""Fitting: rows in, one scikit-learn Pipeline out, and what it scores.

Preprocessing is fitted inside the Pipeline, so that what serves is what was trained.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem
from airflow_provider_mlops.lifecycle.scoring.scorers import score
from airflow_provider_mlops.lifecycle.train import estimator as train_estimator

if TYPE_CHECKING:
    import numpy
    import pandas

    from airflow_provider_mlops.lifecycle.train.spec import TrainSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Rows in the form of `registry.rows`, and their targets."""

    features: pandas.DataFrame
    target: numpy.ndarray[Any, Any]

    def take(self, positions: numpy.ndarray[Any, Any]) -> Rows:
        """Those at some positions."""
        return Rows(self.features.iloc[positions], self.target[positions])


def problem_of(spec: TrainSpec, dataset: Dataset) -> Problem:
    """What the spec says, or else what the estimator is, or else what the target looks like.

    Raises InvalidSpecError if the spec and the estimator contradict each other, and for whatever else is wrong in the
    spec and can be told without the rows.
    """
    from airflow_provider_mlops.registry.rows import infer_problem

    _check_beforehand(spec)
    kind = None
    if spec.estimator is not None:
        kind = train_estimator.kind_of(train_estimator.from_import_path(spec.estimator, spec.parameters, spec.seed))
        if spec.problem is not None and kind not in (None, spec.problem):
            raise InvalidSpecError(
                "problem", spec.problem, f"{spec.estimator} is for {kind}: leave problem out, or name another estimator"
            )
    if spec.problem is None and kind is None:
        kind = infer_problem(dataset.arrow([spec.target]), spec.target)
        log.info("The target %s looks like %s; set problem to decide otherwise", spec.target, kind)
    found: Problem = "classification" if (spec.problem or kind) == "classification" else "regression"
    return found


def _check_beforehand(spec: TrainSpec) -> None:
    if spec.code is not None:
        spec.code.check("code", *train_estimator.OFFERED)
    if spec.preprocessing is not None:
        spec.preprocessing.check()
    if spec.profile_uri is not None:
        Profile.read(spec.profile_uri)
    for requirement in spec.pip_requirements or ():
        _check_requirement(requirement)


def _check_requirement(requirement: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    # Options, paths and addresses are pip's own affair.
    if requirement.startswith("-") or "/" in requirement:
        return
    try:
        Requirement(requirement)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidSpecError(
            "pip_requirements", requirement, f"pip cannot read it ({reason}): write it like 'scikit-learn==1.9.1'"
        ) from error


def read(dataset: Dataset, target: str, problem: Problem, field: str = "dataset", like: Rows | None = None) -> Rows:
    """The rows of a dataset.

    Raises InvalidSpecError for missing columns, RejectedError for targets that cannot be used.

    :param like: training rows; the columns are then theirs.
    """
    from airflow_provider_mlops.registry.rows import feature_rows, target_values

    manifest = dataset.manifest
    columns = [column.name for column in manifest.columns]
    if target not in columns:
        raise InvalidSpecError(
            "target", target, f"name one of the columns of {dataset.name}: {', '.join(columns[:50])}"
        )
    if not manifest.rows:
        raise RejectedError(f"{field}={dataset.uri!r} has no rows: extract more, or filter less")
    features = [name for name in columns if name != target] if like is None else list(like.features.columns)
    missing = [name for name in features if name not in columns]
    if missing or not features:
        raise InvalidSpecError(
            field,
            dataset.uri,
            f"it lacks the columns {missing[:20]}" if missing else "it has no column beside the target",
        )
    table = dataset.arrow([*features, target])
    rows = Rows(feature_rows(table, features), target_values(table, target, problem))
    if like is not None:
        _check_kinds(field, dataset, rows, like)
    elif problem == "classification":
        _check_classes(rows.target, target)
    return rows


def _check_kinds(field: str, dataset: Dataset, rows: Rows, like: Rows) -> None:
    for name in like.features.columns:
        trained, found = like.features[name], rows.features[name]
        if (trained.dtype.kind == "O") != (found.dtype.kind == "O") and not trained.isna().all() | found.isna().all():
            kinds = [_kind_name(column) for column in (found, trained)]
            raise InvalidSpecError(
                field,
                dataset.uri,
                f"its column {name!r} holds {kinds[0]}, and that of the training rows {kinds[1]}: take both from the "
                "same prepare task",
            )


def _kind_name(column: pandas.Series[Any]) -> str:
    from pandas.api.types import infer_dtype

    return f"{infer_dtype(column, skipna=True)} values" if column.dtype.kind == "O" else "numbers"


def fit(spec: TrainSpec, rows: Rows, problem: Problem, parameters: Mapping[str, Any]) -> Any:
    """A fitted Pipeline of the preprocessing, if there is one, and the estimator.

    Raises InvalidSpecError when the estimator refuses its parameters or the rows; an error of user code keeps its type.
    """
    from sklearn.pipeline import Pipeline

    if spec.code is not None:
        with _warnings_logged():
            estimator = train_estimator.from_code(
                spec.code, rows.features, rows.target, parameters=parameters, seed=spec.seed, problem=problem
            )
        if train_estimator.is_fitted(estimator):
            if spec.preprocessing is not None:
                raise InvalidSpecError(
                    "code",
                    f"{spec.code} returned a fitted {type(estimator).__name__}",
                    "return it unfitted, so that it is fitted on preprocessed rows, or leave preprocessing out",
                )
            return estimator if isinstance(estimator, Pipeline) else Pipeline([("estimator", estimator)])
    else:
        assert spec.estimator is not None
        estimator = train_estimator.from_import_path(spec.estimator, parameters, spec.seed)
    steps = [("estimator", estimator)]
    if spec.preprocessing is not None:
        steps.insert(0, ("preprocessing", spec.preprocessing.build(rows.features)))
    pipeline = Pipeline(steps)
    start = time.monotonic()
    with _warnings_logged(), _errors_named(spec, parameters, rows.features):
        pipeline.fit(rows.features, rows.target)
    log.debug("Fitted in %.2f s", time.monotonic() - start)
    return pipeline


def scores(model: Any, rows: Rows, problem: Problem) -> dict[str, float]:
    """The metrics of `lifecycle.evaluate_metrics` on rows.

    Raises RejectedError if the model predicts what is not finite.
    """
    import numpy

    predicted = numpy.asarray(model.predict(rows.features))
    if problem == "regression":
        _check_finite(predicted.astype(numpy.float64), "predictions", model)
        return score(problem, rows.target, ModelOutput(predicted.astype(numpy.float64)))
    known = list(getattr(model, "classes_", [])) or sorted(set(predicted.tolist()), key=str)
    unknown = sorted(set(rows.target.tolist()) - set(known), key=str)
    if unknown:
        log.warning(
            "The model cannot know the classes %s: they are not in the rows that it was trained on", unknown[:10]
        )
    probability = None
    if hasattr(model, "predict_proba"):
        probability = numpy.asarray(model.predict_proba(rows.features), dtype=numpy.float64)
        _check_finite(probability, "probabilities", model)
        probability = numpy.hstack([probability, numpy.zeros((len(probability), len(unknown)))])
    codes = {label: code for code, label in enumerate([*known, *unknown])}
    truth = numpy.array([codes[label] for label in rows.target.tolist()], dtype=numpy.int64)
    value = numpy.array([codes[label] for label in predicted.tolist()], dtype=numpy.int64)
    return score(problem, truth, ModelOutput(value, probability), len(codes))


def _check_classes(target: numpy.ndarray[Any, Any], name: str) -> None:
    classes = set(target.tolist())
    if len(classes) < 2:
        raise RejectedError(
            f"target={name!r}: all {len(target)} rows are of the class {next(iter(classes))!r}, and a classifier needs "
            "two: extract rows of other classes too"
        )


def _check_finite(values: numpy.ndarray[Any, Any], what: str, model: Any) -> None:
    import numpy

    bad = int((~numpy.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
    if bad:
        raise RejectedError(
            f"the {what} of {type(model.steps[-1][1]).__name__} are not finite for {bad} of {len(values)} rows: impute "
            "and scale the features in preprocessing, or choose other parameters"
        )


@contextmanager
def _errors_named(spec: TrainSpec, parameters: Mapping[str, Any], features: pandas.DataFrame) -> Iterator[None]:
    from sklearn.utils._param_validation import InvalidParameterError

    try:
        yield
    except InvalidParameterError as error:
        raise InvalidSpecError("parameters", dict(parameters), str(error)) from error
    except ValueError as error:
        if spec.estimator is None:
            raise
        hint = str(error).strip().splitlines()[0]
        infinite = _infinite(features)
        if infinite and "infinity" in hint:
            raise RejectedError(
                f"the columns {infinite[:20]} have infinite values, which {spec.estimator} or its preprocessing "
                "refuses: leave these rows out with prepare's filters, or replace the values in its features code"
            ) from error
        if spec.preprocessing is None and ("could not convert string" in hint or "NaN" in hint):
            hint += ": set preprocessing, which encodes strings and fills missing numbers"
        raise InvalidSpecError("estimator", spec.estimator, hint) from error


def _infinite(features: pandas.DataFrame) -> list[str]:
    import numpy

    numbers = features.select_dtypes("number")
    return [str(name) for name in numbers.columns[numpy.isinf(numbers.to_numpy()).any(axis=0)]]


@contextmanager
def _warnings_logged() -> Iterator[None]:
    """Say each warning of a library once, in the log of the task."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            texts = (f"{one.category.__name__}: {' '.join(str(one.message).split())}" for one in caught)
            for text in dict.fromkeys(texts):
                log.warning("%s", text)
