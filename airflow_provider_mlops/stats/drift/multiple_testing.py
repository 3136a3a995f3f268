"""Adjustment of p values for many tests at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.arrays import Floats


def holm(p_values: ArrayLike) -> Floats:
    r"""Adjust p values so that the probability of any false alarm in the family stays below the level.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (m - j + 1)\, p_{(j)}\}

    Holm (1979), *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6(2). It
    assumes nothing about how the tests depend on each other.

    Parameters
    ----------
    p_values
        p values between 0 and 1, shape `(tests,)`.

    Returns
    -------
    Floats
        Adjusted p values of the same shape, in the same order.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = _validate(p_values)
    order = np.argsort(values, kind="stable")
    steps = values.size - np.arange(values.size)
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps * values[order]))
    return _in_original_order(adjusted, order)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    r"""Adjust p values so that the expected proportion of false alarms among all alarms stays below the level.

    .. math:: \tilde p_{(i)} = \min_{j \ge i} \min\{1, \tfrac{m}{j}\, p_{(j)}\}

    Benjamini and Hochberg (1995), *Controlling the false discovery rate*, Journal of the Royal Statistical Society B
    57(1). It is valid for independent tests, and for positively dependent ones: Benjamini and Yekutieli (2001), *The
    control of the false discovery rate in multiple testing under dependency*, Annals of Statistics 29(4). Parameters
    and result are those of `holm`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    values = _validate(p_values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return _in_original_order(adjusted, order)


def _validate(p_values: ArrayLike) -> Floats:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or np.any(~((values >= 0) & (values <= 1))):
        raise ValueError("p_values must be a vector of numbers between 0 and 1")
    return values


def _in_original_order(adjusted: Floats, order: NDArray[np.intp]) -> Floats:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
