"""UCB1: the arm with the greatest upper confidence bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.propensity import one_hot, with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.checks import check_positive


@dataclass(frozen=True, slots=True)
class UCB1:
    r"""Policy that takes the arm with the greatest :math:`\bar x_a + w\sqrt{2\log N / n_a}`, after each arm once.

    Auer, Cesa-Bianchi and Fischer (2002), *Finite-time analysis of the multiarmed bandit problem*, Machine Learning 47,
    for rewards in a range of `width` :math:`w`. It is deterministic: of arms with the same index it takes the first,
    with propensity one apart from the floor. If rewards arrive late, all decisions until then are the same; a floor, or
    Thompson sampling, spreads them.

    Parameters
    ----------
    width
        Width of the range of rewards, above 0. Smaller values explore less than the theory requires.
    min_propensity
        Smallest probability of any arm.

    Examples
    --------
    >>> UCB1(min_propensity=0.1).propensities(RewardStatistics.of([0, 0, 1], [1, 0, 0], 2))
    array([0.9, 0.1])
    """

    width: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_positive(width=self.width)

    def index(self, statistics: RewardStatistics) -> Floats:
        """Return the upper confidence bound of each arm, infinite without a reward, in the shape of the statistics."""
        n = statistics.count
        decisions = np.maximum(n.sum(axis=-1, keepdims=True), 1.0)
        bonus = np.sqrt(2 * np.log(decisions) / np.maximum(n, 1e-300))
        return np.where(n > 0, statistics.total / np.maximum(n, 1e-300) + self.width * bonus, np.inf)

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Return the exact probability of each arm, in the shape of the statistics."""
        best = np.argmax(self.index(statistics), axis=-1)
        return with_floor(one_hot(best, statistics.count.shape[-1]), self.min_propensity)
