"""Sums of a least-squares fit for each arm of a contextual bandit. The sums of several replicas can be added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.checks import check_positive


@dataclass(frozen=True, slots=True, eq=False)
class LinearStatistics:
    r"""Features and rewards of each arm; the statistics of two replicas can be added.

    They do not contain the prior: `RidgeFit.of` adds it once, however many replicas there are.

    Parameters
    ----------
    count
        Number of rewards of each arm, shape `(arms,)`.
    gram
        :math:`\sum x x^\top`, shape `(arms, features, features)`.
    response
        :math:`\sum r x`, shape `(arms, features)`.

    Examples
    --------
    >>> statistics = LinearStatistics.of([0, 1], [[1.0, 0.0], [1.0, 2.0]], [1.0, 3.0], 2)
    >>> (statistics + statistics).response
    array([[ 2.,  0.],
           [ 6., 12.]])
    """

    count: Floats
    gram: Floats
    response: Floats

    @classmethod
    def empty(cls, arms: int, features: int) -> LinearStatistics:
        """Create statistics without rewards."""
        return cls(np.zeros(arms), np.zeros((arms, features, features)), np.zeros((arms, features)))

    @classmethod
    def of(cls, arms: ArrayLike, features: ArrayLike, rewards: ArrayLike, arm_count: int) -> LinearStatistics:
        """Create statistics from decisions: indices of arms, features of shape `(decisions, features)`, and rewards."""
        arm, reward = np.asarray(arms, dtype=np.intp), np.asarray(rewards, dtype=np.float64)
        x = np.asarray(features, dtype=np.float64)
        if arm.ndim != 1 or x.ndim != 2 or arm.shape != reward.shape or x.shape[:1] != arm.shape:
            raise ValueError(
                "arms, features and rewards must have one element per decision, "
                f"got arms {arm.shape}, features {x.shape} and rewards {reward.shape}"
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(reward))):
            raise ValueError("features and rewards must be finite")
        if np.any((arm < 0) | (arm >= arm_count)):
            raise ValueError(f"arms must be indices from 0 to {arm_count - 1}")
        indicator = np.equal.outer(np.arange(arm_count), arm).astype(np.float64)
        return cls(indicator.sum(axis=1), np.einsum("an,ni,nj->aij", indicator, x, x), (indicator * reward) @ x)

    def __add__(self, other: LinearStatistics) -> LinearStatistics:
        return LinearStatistics(self.count + other.count, self.gram + other.gram, self.response + other.response)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    r"""A ridge regression for each arm: :math:`A = \lambda I + \sum x x^\top`, :math:`\theta = A^{-1} \sum r x`.

    Fit it once for new statistics and use it for many requests. Several problems can have more axes before the arms.

    Parameters
    ----------
    coefficients
        Shape `(arms, features)`.
    inverse
        :math:`A^{-1}`, shape `(arms, features, features)`.

    Examples
    --------
    >>> statistics = LinearStatistics.of([0, 0], [[1.0], [1.0]], [2.0, 4.0], 1)
    >>> fit = RidgeFit.of(statistics, strength=1.0)
    >>> fit.means([1.0]), fit.stds([1.0]).round(3)
    (array([2.]), array([0.577]))
    """

    coefficients: Floats
    inverse: Floats

    @classmethod
    def of(cls, statistics: LinearStatistics, strength: float = 1.0) -> RidgeFit:
        r"""Fit the regressions with the `strength` :math:`\lambda` of the L2 regularization, above 0."""
        check_positive(strength=strength)
        inverse = np.linalg.inv(statistics.gram + strength * np.eye(statistics.gram.shape[-1]))
        inverse = (inverse + np.swapaxes(inverse, -1, -2)) / 2
        return cls(np.einsum("...ij,...j->...i", inverse, statistics.response), inverse)

    def means(self, features: ArrayLike) -> Floats:
        """Predict the rewards: shape `(arms,)` for a vector of features, `(requests, arms)` for a matrix."""
        return np.asarray(np.einsum("...i,...ai->...a", np.asarray(features, dtype=np.float64), self.coefficients))

    def stds(self, features: ArrayLike) -> Floats:
        r"""Return the standard deviations of the predictions for a noise of one: :math:`\sqrt{x^\top A^{-1} x}`."""
        x = np.asarray(features, dtype=np.float64)
        return np.asarray(np.sqrt(np.maximum(np.einsum("...i,...aij,...j->...a", x, self.inverse, x), 0.0)))


def estimated_noise(
    statistics: LinearStatistics,
    moments: RewardStatistics,
    *,
    prior_std: float,
    prior_count: float = 1.0,
    strength: float = 1.0,
) -> float:
    r"""Estimate the standard deviation of rewards around the linear models, from the residuals of all arms together.

    .. math:: \hat\sigma^2 = \frac{\nu \sigma_0^2 + \sum_a \sum_i (r_i - x_i^\top \theta_a)^2}
              {\nu + \sum_a \max(n_a - d_a, 0)}

    with the effective number :math:`d_a = \operatorname{tr}(A_a^{-1} \sum x x^\top)` of parameters of each arm's ridge
    regression: Hastie, Tibshirani and Friedman (2009), *The Elements of Statistical Learning*, section 3.4.1. The prior
    is that of `GaussianThompson`: a guess of the standard deviation, and the number of rewards that it counts as. The
    first feature must be a constant of one. The mean reward of an arm is removed before anything is squared, so that
    large rewards lose no digits.

    Parameters
    ----------
    statistics, moments
        Sums and moments of the same rewards.
    prior_std, prior_count
        A guess of the standard deviation, and its weight, both above 0.
    strength
        As for `RidgeFit.of`.

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(500), generator.normal(size=500)])
    >>> rewards, arms = x @ [1.0, 2.0] + 0.1 * generator.normal(size=500), np.zeros(500, dtype=int)
    >>> sums, moments = LinearStatistics.of(arms, x, rewards, 1), RewardStatistics.of(arms, rewards, 1)
    >>> round(estimated_noise(sums, moments, prior_std=1.0), 2)
    0.11
    """
    check_positive(prior_std=prior_std, prior_count=prior_count)
    mean = np.where(statistics.count > 0, moments.total / np.maximum(statistics.count, 1.0), 0.0)
    response = statistics.response - mean[..., None] * statistics.gram[..., 0, :]
    fit = RidgeFit.of(LinearStatistics(statistics.count, statistics.gram, response), strength)
    theta = fit.coefficients
    squares = moments.deviations - 2 * np.sum(theta * response, axis=-1)
    squares = squares + np.einsum("...ai,...aij,...aj->...a", theta, statistics.gram, theta)
    parameters = np.einsum("...aij,...aji->...a", fit.inverse, statistics.gram)
    degrees = np.maximum(statistics.count - parameters, 0.0)
    variance = prior_count * prior_std**2 + np.maximum(squares, 0.0).sum(axis=-1)
    return float(np.sqrt(variance / (prior_count + degrees.sum(axis=-1))))
