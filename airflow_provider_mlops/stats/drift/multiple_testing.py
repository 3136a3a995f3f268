"""P values adjusted for having asked many questions at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""P values adjusted so that the chance of any false alarm in the family stays below the level.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (m - j + 1)\, p_{(j)}\}

    Holm (1979), *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6(2).
    Needs no assumption on how the tests depend on each other.

    Parameters
    ----------
    p_values
        Of shape `(tests,)`, each between 0 and 1.

    Returns
    -------
    Adjusted p values of the same shape, in the same order.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    steps = values.size - np.arange(values.size)
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps * values[order]))
    return _in_original_order(adjusted, order)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""P values adjusted so that the expected share of false alarms among all alarms stays below the level.

    .. math:: \tilde p_{(i)} = \min_{j \ge i} \min\{1, \tfrac{m}{j}\, p_{(j)}\}

    Benjamini and Hochberg (1995), *Controlling the false discovery rate*, Journal of the Royal Statistical Society B
    57(1). Holds for independent tests, and for positively dependent ones: Benjamini and Yekutieli (2001), *The control
    of the false discovery rate in multiple testing under dependency*, Annals of Statistics 29(4).

    Parameters and what is returned as for `holm`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return _in_original_order(adjusted, order)


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or np.any(~((values >= 0) & (values <= 1))):
        raise ValueError("p values must be a vector of numbers between 0 and 1")
    return values


def _in_original_order(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
