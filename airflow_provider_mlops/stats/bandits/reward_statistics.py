"""What a bandit remembers of rewards: sums for each arm, which replicas add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RewardStatistics:
    """Rewards of each arm; the statistics of two replicas add.

    Parameters
    ----------
    count, total, squares
        How many rewards, their sum and that of their squares, of shape `(..., arms)`. Fractions arise by `forgetting`.

    >>> first, second = RewardStatistics.of([0, 1, 1], [1.0, 0.0, 1.0], 2), RewardStatistics.of([0], [2.0], 2)
    >>> both = first + second
    >>> both.count, both.total, both.squares
    (array([2., 2.]), array([3., 1.]), array([5., 1.]))
    """

    count: Floats
    total: Floats
    squares: Floats

    @classmethod
    def empty(cls, *shape: int) -> RewardStatistics:
        """Of no rewards; the last number is that of the arms."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    @classmethod
    def of(cls, arms: ArrayLike, rewards: ArrayLike, number_of_arms: int) -> RewardStatistics:
        """Of decisions, as places of arms from 0 on, and the reward of each."""
        place, reward = np.asarray(arms, dtype=np.intp), np.asarray(rewards, dtype=np.float64)
        if place.shape != reward.shape or place.ndim != 1 or not np.all(np.isfinite(reward)):
            raise ValueError("arms and rewards must be two vectors over the same decisions, rewards finite")
        if np.any((place < 0) | (place >= number_of_arms)):
            raise ValueError(f"arms must be places from 0 to {number_of_arms - 1}")
        count, total, squares = (
            np.bincount(place, weights=part, minlength=number_of_arms).astype(np.float64)
            for part in (np.ones_like(reward), reward, reward**2)
        )
        return cls(count, total, squares)

    def __add__(self, other: RewardStatistics) -> RewardStatistics:
        return RewardStatistics(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Floats:
        """Of each arm, NaN where there is no reward."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total / self.count, dtype=np.float64)


def forgetting(periods: Sequence[RewardStatistics], factor: float) -> RewardStatistics:
    r"""Statistics of a problem that changes: each period counts `factor` times as much as the one after it.

    :math:`\sum_t \gamma^{T-t} S_t` over the sums :math:`S_t` of periods: discounting by Garivier and Moulines (2011),
    *On upper-confidence bound policies for switching bandit problems*, ALT, by periods rather than by single rewards,
    so that replicas still only add sums. A factor of 1 over the last few periods is a sliding window.

    Parameters
    ----------
    periods
        Oldest first, at least one.
    factor
        Above 0, at most 1.

    >>> old, new = RewardStatistics.of([0, 0], [1, 1], 1), RewardStatistics.of([0], [0], 1)
    >>> forgetting([old, new], 0.5).mean
    array([0.5])
    """
    if not 0 < factor <= 1:
        raise ValueError(f"factor must be above 0 and at most 1, not {factor}")
    if not periods:
        raise ValueError("forgetting needs at least one period")
    kept = RewardStatistics.empty(*periods[0].count.shape)
    for period in periods:
        faded = RewardStatistics(factor * kept.count, factor * kept.total, factor * kept.squares)
        kept = faded + period
    return kept
