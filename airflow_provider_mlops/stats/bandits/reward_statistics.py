"""Sums of the rewards of each arm. The sums of several replicas can be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class RewardStatistics:
    """Rewards of each arm; the statistics of two replicas can be added.

    Parameters
    ----------
    count, total, deviations
        Number of rewards, their sum, and the sum of their squared deviations from the arm's mean, shape `(..., arms)`.
        They are fractions after `discount_periods`.

    Examples
    --------
    >>> first, second = RewardStatistics.of([0, 1, 1], [1.0, 0.0, 1.0], 2), RewardStatistics.of([0], [2.0], 2)
    >>> both = first + second
    >>> both.count, both.total, both.deviations
    (array([2., 2.]), array([3., 1.]), array([0.5, 0.5]))
    """

    count: Floats
    total: Floats
    deviations: Floats

    @classmethod
    def empty(cls, *shape: int) -> RewardStatistics:
        """Create statistics without rewards; the last number of the shape is the number of arms."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    @classmethod
    def of(cls, arms: ArrayLike, rewards: ArrayLike, arm_count: int) -> RewardStatistics:
        """Create statistics from decisions: the index of the arm, from 0, and the reward of each."""
        arm, reward = np.asarray(arms, dtype=np.intp), np.asarray(rewards, dtype=np.float64)
        if arm.shape != reward.shape or arm.ndim != 1:
            raise ValueError(
                "arms and rewards must be one-dimensional and of equal length, "
                f"got shapes {arm.shape} and {reward.shape}"
            )
        if not np.all(np.isfinite(reward)):
            raise ValueError("rewards must be finite")
        if np.any((arm < 0) | (arm >= arm_count)):
            raise ValueError(f"arms must be indices from 0 to {arm_count - 1}")
        count, total = (
            np.bincount(arm, weights=part, minlength=arm_count).astype(np.float64)
            for part in (np.ones_like(reward), reward)
        )
        squares = np.square(reward - (total / np.maximum(count, 1))[arm])
        return cls(count, total, np.bincount(arm, weights=squares, minlength=arm_count).astype(np.float64))

    def __add__(self, other: RewardStatistics) -> RewardStatistics:
        count = self.count + other.count
        distance = self.total / np.maximum(self.count, 1e-300) - other.total / np.maximum(other.count, 1e-300)
        share = np.where(count > 0, self.count * other.count / np.where(count > 0, count, 1.0), 0.0)
        between = np.where(share > 0, distance**2 * share, 0.0)
        return RewardStatistics(count, self.total + other.total, self.deviations + other.deviations + between)

    @property
    def mean(self) -> Floats:
        """Mean reward of each arm, NaN without rewards."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total / self.count, dtype=np.float64)


def discount_periods(periods: Sequence[RewardStatistics], factor: float) -> RewardStatistics:
    r"""Discount old statistics of a problem that changes: each period counts `factor` times as much as the next one.

    :math:`\sum_t \gamma^{T-t} S_t` over the sums :math:`S_t` of periods: discounting by Garivier and Moulines (2011),
    *On upper-confidence bound policies for switching bandit problems*, ALT, by periods rather than by single rewards,
    so that replicas still only add sums. A factor of 1 over the last few periods is a sliding window.

    Parameters
    ----------
    periods
        Statistics of each period, oldest first, at least one.
    factor
        Discount factor, above 0 and at most 1.

    Examples
    --------
    >>> old, new = RewardStatistics.of([0, 0], [1, 1], 1), RewardStatistics.of([0], [0], 1)
    >>> discount_periods([old, new], 0.5).mean
    array([0.5])
    """
    if not 0 < factor <= 1:
        raise ValueError(f"factor must be above 0 and at most 1, got {factor}")
    if not periods:
        raise ValueError("periods must have at least one element")
    discounted = RewardStatistics.empty(*periods[0].count.shape)
    for period in periods:
        faded = RewardStatistics(factor * discounted.count, factor * discounted.total, factor * discounted.deviations)
        discounted = faded + period
    return discounted
