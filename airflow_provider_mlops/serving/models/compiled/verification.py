"""Compares a compiled model with scikit-learn, which is the judge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.registry import model_output
from airflow_provider_mlops.serving.models.compiled import trial_rows
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.models.compiled.predictor import BITS_64, Predictor
from airflow_provider_mlops.serving.models.compiled.preprocessing import Preprocessing
from airflow_provider_mlops.serving.models.split_estimator import Prediction
from airflow_provider_mlops.serving.rows.rows import Rows

_ABSOLUTE = 1e-12
"""Permitted difference of numbers near zero. The relative one depends on the model, see `Predictor.tolerance`."""


def verify_estimator(estimator: Any, predictor: Predictor) -> None:
    """Compare an estimator with its arithmetic where a wrong number would show. Raises NotCompilableError.

    For trees, these rows reach every leaf, over thresholds that are hit exactly.
    """
    edges = predictor.edges()
    if edges is None:
        return
    random = np.random.default_rng(0)
    holes = edges[random.integers(len(edges), size=min(len(edges), 256))]
    holes[random.random(holes.shape) < 0.3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for features in (edges, holes, holes[:1]):
            try:
                expected = model_output.predict(estimator, features)
            except ValueError:
                expected = None
            what = f"{len(features)} rows at the thresholds of the trees"
            _compare(expected, predictor.predict(features), what, predictor.tolerance)


def verify_preprocessing(
    preprocessing: Preprocessing, transformers: Sequence[Any], example: Rows, *, gets_array: bool
) -> None:
    """Compare what an estimator gets, for every category and for usual rows. Raises NotCompilableError if it differs.

    An estimator may ignore a feature, or a category, so its predictions alone would not show every wrong number.
    """
    if not transformers:
        return
    known = preprocessing.known_values
    for rows in (*trial_rows.usual(example, known), trial_rows.all_categories(example, known)):
        features: Any = rows.array() if gets_array else rows.frame()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for transformer in transformers:
                    features = transformer.transform(features)
            except (TypeError, ValueError):
                # What is refused is compared with whole predictions.
                continue
        expected = np.asarray(features.toarray() if hasattr(features, "toarray") else features, dtype=np.float64)
        actual = preprocessing.features(rows)
        if actual is not None and not (
            actual.shape == expected.shape
            and np.allclose(actual, expected, rtol=BITS_64, atol=_ABSOLUTE, equal_nan=True)
        ):
            raise NotCompilableError(f"its features for {rows.count} rows differ")


def verify_model(
    predict: Callable[[Rows], Prediction | None],
    judge: Callable[[Rows], Prediction],
    example: Rows,
    known: Mapping[int, Sequence[Any]],
    tolerance: float,
) -> None:
    """Compare a whole model with its arithmetic on many rows. Raises NotCompilableError if a result differs."""
    declined = tried = 0
    for rows in trial_rows.usual(example, known):
        tried += 1
        declined += _agree(predict, judge, rows, f"{rows.count} usual rows", tolerance)
    if declined == tried:
        raise NotCompilableError("scikit-learn would have to predict all rows")
    for group in trial_rows.unusual(example, known):
        # One by one only if one of them keeps the others from being predicted.
        if _agree(predict, judge, Rows.concatenate(group), f"{len(group)} unusual rows", tolerance):
            for rows in group:
                _agree(predict, judge, rows, f"an unusual row ({_describe(rows)})", tolerance)


def _agree(
    predict: Callable[[Rows], Prediction | None],
    judge: Callable[[Rows], Prediction],
    rows: Rows,
    what: str,
    tolerance: float,
) -> bool:
    """Compare the results for some rows. Returns whether the arithmetic declined them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = judge(rows)
        except Exception:
            expected = None
    try:
        prediction = predict(rows)
    except model_output.ModelOutputError as error:
        if expected is not None:
            raise NotCompilableError(f"{error}, for {what}") from None
        return False
    _compare(expected, prediction, what, tolerance)
    return prediction is None


def _compare(
    expected: tuple[NDArray[Any], Floats | None] | None,
    actual: tuple[NDArray[Any], Floats | None] | None,
    what: str,
    tolerance: float,
) -> None:
    if actual is None:
        # Declined: scikit-learn predicts, or refuses.
        return
    if expected is None:
        raise NotCompilableError(f"scikit-learn refuses {what}, and the arithmetic does not")
    for mine, theirs, name in zip(actual, expected, ("predictions", "probabilities"), strict=True):
        if (mine is None) != (theirs is None):
            raise NotCompilableError(f"its {name} are not compiled")
        if mine is not None and theirs is not None and not _same(mine, theirs, tolerance):
            raise NotCompilableError(f"its {name} for {what} differ")


def _same(mine: NDArray[Any], theirs: NDArray[Any], tolerance: float) -> bool:
    if mine.shape != theirs.shape or mine.dtype.kind != theirs.dtype.kind:
        return False
    if mine.dtype.kind == "f":
        return bool(np.allclose(mine, theirs, rtol=tolerance, atol=_ABSOLUTE))
    return bool(np.array_equal(mine, theirs))


def _describe(rows: Rows) -> str:
    return ", ".join(repr(column.tolist()[0])[:30] for column in rows.columns()[:3])
