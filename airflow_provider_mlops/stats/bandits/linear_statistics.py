"""What a contextual bandit remembers: the sums of a least-squares fit for each arm, which replicas add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LinearStatistics:
    r"""Features and rewards of each arm; the statistics of two replicas add.

    The prior is not in them: it is added once, by `RidgeFit.of`, however many replicas there are.

    Parameters
    ----------
    count
        Rewards of each arm, of shape `(arms,)`.
    gram
        :math:`\sum x x^\top`, of shape `(arms, features, features)`.
    response
        :math:`\sum r x`, of shape `(arms, features)`.

    >>> one = LinearStatistics.of([0, 1], [[1.0, 0.0], [1.0, 2.0]], [1.0, 3.0], 2)
    >>> (one + one).response
    array([[ 2.,  0.],
           [ 6., 12.]])
    """

    count: Floats
    gram: Floats
    response: Floats

    @classmethod
    def empty(cls, arms: int, features: int) -> LinearStatistics:
        """Of no rewards."""
        return cls(np.zeros(arms), np.zeros((arms, features, features)), np.zeros((arms, features)))

    @classmethod
    def of(cls, arms: ArrayLike, features: ArrayLike, rewards: ArrayLike, number_of_arms: int) -> LinearStatistics:
        """Of decisions: places of arms, features of shape `(decisions, features)`, and rewards."""
        place, reward = np.asarray(arms, dtype=np.intp), np.asarray(rewards, dtype=np.float64)
        x = np.asarray(features, dtype=np.float64)
        if place.ndim != 1 or x.ndim != 2 or place.shape != reward.shape or x.shape[:1] != place.shape:
            raise ValueError("arms, features and rewards must belong to the same decisions")
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(reward))):
            raise ValueError("features and rewards must be finite")
        if np.any((place < 0) | (place >= number_of_arms)):
            raise ValueError(f"arms must be places from 0 to {number_of_arms - 1}")
        taken = np.equal.outer(np.arange(number_of_arms), place).astype(np.float64)
        return cls(taken.sum(axis=1), np.einsum("an,ni,nj->aij", taken, x, x), (taken * reward) @ x)

    def __add__(self, other: LinearStatistics) -> LinearStatistics:
        return LinearStatistics(self.count + other.count, self.gram + other.gram, self.response + other.response)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    r"""A ridge regression of each arm: :math:`A = \lambda I + \sum x x^\top`, :math:`\theta = A^{-1} \sum r x`.

    To be made once for new statistics, and used for many requests. Problems at once may stand before the arms.

    Parameters
    ----------
    coefficients
        Of shape `(arms, features)`.
    inverse
        :math:`A^{-1}`, of shape `(arms, features, features)`.

    >>> statistics = LinearStatistics.of([0, 0], [[1.0], [1.0]], [2.0, 4.0], 1)
    >>> fit = RidgeFit.of(statistics, strength=1.0)
    >>> fit.means([1.0]), fit.deviations([1.0]).round(3)
    (array([2.]), array([0.577]))
    """

    coefficients: Floats
    inverse: Floats

    @classmethod
    def of(cls, statistics: LinearStatistics, strength: float = 1.0) -> RidgeFit:
        """With the prior's `strength` :math:`\\lambda`, above 0."""
        if not strength > 0:
            raise ValueError(f"strength must be above 0, not {strength}")
        inverse = np.linalg.inv(statistics.gram + strength * np.eye(statistics.gram.shape[-1]))
        inverse = (inverse + np.swapaxes(inverse, -1, -2)) / 2
        return cls(np.einsum("...ij,...j->...i", inverse, statistics.response), inverse)

    def means(self, features: ArrayLike) -> Floats:
        """What each arm is worth for a vector of features: of shape `(arms,)`; `(requests, arms)` for a matrix."""
        return np.asarray(np.einsum("...i,...ai->...a", np.asarray(features, dtype=np.float64), self.coefficients))

    def deviations(self, features: ArrayLike) -> Floats:
        r"""How uncertain that is, for a noise of one: :math:`\sqrt{x^\top A^{-1} x}`, of the same shape."""
        x = np.asarray(features, dtype=np.float64)
        return np.asarray(np.sqrt(np.maximum(np.einsum("...i,...aij,...j->...a", x, self.inverse, x), 0.0)))
