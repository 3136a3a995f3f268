"""Probabilities of arms: a least one for each, and drawing from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def with_floor(probabilities: ArrayLike, minimum: float) -> Floats:
    r"""Probabilities mixed with uniform ones until none is below a minimum: :math:`(1 - km)\,p + m`.

    An estimate of another policy weighs a decision by at most one over its propensity, so a floor of 1 % bounds the
    weights by 100, and an arm that lost keeps being tried as much.

    Parameters
    ----------
    probabilities
        Of shape `(..., arms)`, summing to one.
    minimum
        From 0 to one over the number of arms.

    >>> with_floor([0.0, 1.0], 0.05)
    array([0.05, 0.95])
    """
    share = np.asarray(probabilities, dtype=np.float64)
    arms = share.shape[-1]
    if not 0 <= minimum <= 1 / arms:
        raise ValueError(f"minimum must lie between 0 and {1 / arms:g} for {arms} arms, not {minimum}")
    return np.asarray((1 - arms * minimum) * share + minimum, dtype=np.float64)


def draw(probabilities: ArrayLike, uniform: float) -> int:
    """The arm that a uniform number from 0 to below 1 falls on.

    >>> [draw([0.2, 0.0, 0.8], uniform) for uniform in (0.0, 0.19, 0.2, 0.99)]
    [0, 0, 2, 2]
    """
    share = np.asarray(probabilities, dtype=np.float64)
    if not 0 <= uniform < 1:
        raise ValueError(f"uniform must lie between 0 and 1, not {uniform}")
    place = int(np.searchsorted(np.cumsum(share), uniform * share.sum(), side="right"))
    # Rounding may leave the last sum just below the number.
    return min(place, int(np.flatnonzero(share)[-1]))


def one_hot(places: ArrayLike, arms: int) -> Floats:
    """Probability one for the arm at each place.

    >>> one_hot([1], 3)
    array([[0., 1., 0.]])
    """
    return np.asarray(np.equal.outer(np.asarray(places), np.arange(arms)), dtype=np.float64)
