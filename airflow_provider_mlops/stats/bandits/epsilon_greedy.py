"""Epsilon-greedy: the best arm so far, and sometimes a random one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.checks import check_positive, check_unit_interval


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    r"""Policy that takes an arm with the greatest mean with probability :math:`1-\varepsilon`, and any arm otherwise.

    Sutton and Barto (2018), *Reinforcement Learning*, section 2.2. With a `decay` :math:`D`, epsilon is
    :math:`\varepsilon_0 / (1 + N/D)` after :math:`N` rewards. This falls like the :math:`\min(1, cK/(d^2 N))` of Auer,
    Cesa-Bianchi and Fischer (2002), *Finite-time analysis of the multiarmed bandit problem*, Machine Learning 47,
    theorem 3, but starts at :math:`\varepsilon_0`. Arms without a reward count as the best ones, and arms with the same
    mean are equally likely.

    Parameters
    ----------
    epsilon
        Fraction of decisions that are random, from 0 to 1. Exploration never ends unless it decays.
    decay
        Number of rewards after which epsilon is halved; no decay if None.
    min_propensity
        Smallest probability of any arm, applied afterwards.

    Examples
    --------
    >>> EpsilonGreedy(0.2).propensities(RewardStatistics.of([0, 1], [1, 0], 2))
    array([0.9, 0.1])
    """

    epsilon: float = 0.1
    decay: float | None = None
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_unit_interval(epsilon=self.epsilon)
        if self.decay is not None:
            check_positive(decay=self.decay)

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Return the exact probability of each arm, in the shape of the statistics."""
        n = statistics.count
        mean = np.where(n > 0, statistics.total / np.maximum(n, 1e-300), np.inf)
        best = mean == mean.max(axis=-1, keepdims=True)
        greedy = best / best.sum(axis=-1, keepdims=True)
        decisions = n.sum(axis=-1, keepdims=True)
        explored = self.epsilon if self.decay is None else self.epsilon / (1 + decisions / self.decay)
        return with_floor((1 - explored) * greedy + explored / n.shape[-1], self.min_propensity)
