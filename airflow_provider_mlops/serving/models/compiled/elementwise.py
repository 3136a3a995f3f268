"""Imputers and scalers: transformers of numbers that treat each value by its column alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown

Floats = NDArray[np.float64]
Operation = Callable[[Floats], Floats]
"""Returns new values and keeps its argument."""


def operations(steps: Sequence[Any], width: int) -> list[Operation]:
    """Return the arithmetic of fitted transformers of `width` columns, in order.

    Each operation does what `transform` does, in the same order, so that results are equal to the last bit. Raises
    NotCompilableError.

    Examples
    --------
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> scaler = MinMaxScaler().fit([[0.0], [10.0]])
    >>> [operation(np.array([[2.5]])).tolist() for operation in operations([scaler], 1)]
    [[[0.25]], [[2.5]]]
    """
    return [operation for step in steps for operation in _operations(step, width)]


def is_passthrough(step: Any) -> bool:
    """Return whether a step returns its input: a fitted ColumnTransformer has such a step for `passthrough`."""
    from sklearn.preprocessing import FunctionTransformer

    if step is None or (isinstance(step, str) and step == "passthrough"):
        return True
    return type(step) is FunctionTransformer and step.func is None and not step.validate


def _operations(step: Any, width: int) -> list[Operation]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    if is_passthrough(step):
        return []
    kind = type(step)
    if kind is SimpleImputer:
        return [_imputer(step, width)]
    if kind is StandardScaler:
        return [
            *([_subtract(step.mean_, width)] if step.with_mean else []),
            *([_divide(step.scale_, width)] if step.with_std else []),
        ]
    if kind is RobustScaler:
        return [
            *([_subtract(step.center_, width)] if step.with_centering else []),
            *([_divide(step.scale_, width)] if step.with_scaling else []),
        ]
    if kind is MinMaxScaler and not step.clip:
        scale, minimum = _parameters(step.scale_, width), _parameters(step.min_, width)
        return [lambda values: values * scale, lambda values: values + minimum]
    if kind is MaxAbsScaler and not getattr(step, "clip", False):
        return [_divide(step.scale_, width)]
    raise unknown(step)


def _imputer(step: Any, width: int) -> Operation:
    if step.add_indicator or not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise NotCompilableError("SimpleImputer has a compiled form only for NaN, and without an indicator")
    statistics = _parameters(step.statistics_, width)

    def impute(values: Floats) -> Floats:
        missing = np.isnan(values)
        return np.where(missing, statistics, values) if missing.any() else values

    return impute


def _subtract(parameters: Any, width: int) -> Operation:
    center = _parameters(parameters, width)
    return lambda values: values - center


def _divide(parameters: Any, width: int) -> Operation:
    scale = _parameters(parameters, width)
    return lambda values: values / scale


def _parameters(parameters: Any, width: int) -> Floats:
    try:
        array = np.asarray(parameters, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotCompilableError("a transformer of numbers has parameters that are not numbers") from None
    if array.shape != (width,) or not np.isfinite(array).all():
        raise NotCompilableError(f"a transformer of {width} columns has parameters of another shape, or not finite")
    return array
