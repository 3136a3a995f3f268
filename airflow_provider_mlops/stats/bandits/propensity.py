"""Probabilities of arms: a lower limit for each, and drawing an arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats


def with_floor(probabilities: ArrayLike, minimum: float) -> Floats:
    r"""Mix probabilities with uniform ones until none is below a minimum: :math:`(1 - km)\,p + m`.

    An estimate of another policy weighs a decision by at most one over its propensity, so a floor of 1 % limits the
    weights to 100. An arm that lost keeps being tried that often.

    Parameters
    ----------
    probabilities
        Shape `(..., arms)`, summing to one.
    minimum
        Smallest probability, from 0 to one over the number of arms.

    Examples
    --------
    >>> with_floor([0.0, 1.0], 0.05)
    array([0.05, 0.95])
    """
    probability = np.asarray(probabilities, dtype=np.float64)
    arms = probability.shape[-1]
    if not 0 <= minimum <= 1 / arms:
        raise ValueError(f"minimum must be between 0 and {1 / arms:g} for {arms} arms, got {minimum}")
    return np.asarray((1 - arms * minimum) * probability + minimum, dtype=np.float64)


def draw(probabilities: ArrayLike, uniform: float) -> int:
    """Return the arm that a uniform number, at least 0 and below 1, selects.

    >>> [draw([0.2, 0.0, 0.8], uniform) for uniform in (0.0, 0.19, 0.2, 0.99)]
    [0, 0, 2, 2]
    """
    probability = np.asarray(probabilities, dtype=np.float64)
    if not 0 <= uniform < 1:
        raise ValueError(f"uniform must be at least 0 and below 1, got {uniform}")
    arm = int(np.searchsorted(np.cumsum(probability), uniform * probability.sum(), side="right"))
    # Rounding can leave the last sum just below the number.
    return min(arm, int(np.flatnonzero(probability)[-1]))


def one_hot(indices: ArrayLike, arms: int) -> Floats:
    """Return probability one for the arm at each index, and 0 for all others.

    >>> one_hot([1], 3)
    array([[0., 1., 0.]])
    """
    return np.asarray(np.equal.outer(np.asarray(indices), np.arange(arms)), dtype=np.float64)
