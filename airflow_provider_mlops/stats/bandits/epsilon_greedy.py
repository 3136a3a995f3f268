"""Epsilon-greedy: the best arm so far, and now and then any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    r"""Takes an arm of the greatest mean with probability :math:`1-\varepsilon`, any arm otherwise.

    Sutton and Barto (2018), *Reinforcement Learning*, section 2.2. With a `decay` :math:`D` it is
    :math:`\varepsilon_0 / (1 + N/D)` after :math:`N` rewards, which falls like the :math:`\min(1, cK/(d^2 N))` of Auer,
    Cesa-Bianchi and Fischer (2002), *Finite-time analysis of the multiarmed bandit problem*, Machine Learning 47,
    theorem 3, but starts at :math:`\varepsilon_0`. Arms without a reward count as the best ones, and arms of the same
    mean share.

    Parameters
    ----------
    epsilon
        Share of decisions that are made at random, from 0 to 1. It never ends unless it decays.
    decay
        Rewards after which half as much is explored.
    min_propensity
        Least probability of any arm, in addition.

    >>> EpsilonGreedy(0.2).propensities(RewardStatistics.of([0, 1], [1, 0], 2))
    array([0.9, 0.1])
    """

    epsilon: float = 0.1
    decay: float | None = None
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon must lie between 0 and 1, not {self.epsilon}")
        if self.decay is not None and not self.decay > 0:
            raise ValueError(f"decay must be above 0, not {self.decay}")

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Of each arm, of the statistics' shape, exactly."""
        n = statistics.count
        mean = np.where(n > 0, statistics.total / np.maximum(n, 1e-300), np.inf)
        best = mean == mean.max(axis=-1, keepdims=True)
        greedy = best / best.sum(axis=-1, keepdims=True)
        decisions = n.sum(axis=-1, keepdims=True)
        explored = self.epsilon if self.decay is None else self.epsilon / (1 + decisions / self.decay)
        return with_floor((1 - explored) * greedy + explored / n.shape[-1], self.min_propensity)
