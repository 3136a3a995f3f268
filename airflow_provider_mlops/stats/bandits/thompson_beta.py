"""Thompson sampling for rewards between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.bandits.probability_of_best import beta_best
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BetaThompson:
    r"""Takes each arm as often as it is likely to be the best one.

    The rate of each arm has the posterior :math:`\mathrm{Beta}(a + s,\, b + n - s)`. Thompson (1933), *On the
    likelihood that one unknown probability exceeds another in view of the evidence of two samples*, Biometrika
    25(3/4); that its regret reaches the bound of Lai and Robbins: Kaufmann, Korda and Munos (2012), *Thompson
    sampling: an asymptotically optimal finite-time analysis*, ALT. Rewards between 0 and 1 count as fractions of a
    success.

    Parameters
    ----------
    prior_successes, prior_failures
        The prior's :math:`a` and :math:`b`, above 0. One each is uniform.
    min_propensity
        Least probability of any arm.

    >>> policy = BetaThompson()
    >>> policy.propensities(RewardStatistics.of([0, 0, 1, 1], [1, 1, 0, 1], 2)).round(3)
    array([0.8, 0.2])
    """

    prior_successes: float = 1.0
    prior_failures: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        if not (self.prior_successes > 0 and self.prior_failures > 0):
            raise ValueError(f"prior counts must be above 0, not {self.prior_successes} and {self.prior_failures}")

    def posterior(self, statistics: RewardStatistics) -> tuple[Floats, Floats]:
        """Both parameters of each arm's beta distribution, of the statistics' shape."""
        if np.any(statistics.total < 0) or np.any(statistics.total > statistics.count):
            raise ValueError("rewards must lie between 0 and 1 for Thompson sampling of rates")
        failures = statistics.count - statistics.total
        return self.prior_successes + statistics.total, self.prior_failures + failures

    def probability_of_best(self, statistics: RewardStatistics) -> Floats:
        """That each arm is the best one, of shape `(arms,)`, from statistics of that shape."""
        return beta_best(*self.posterior(statistics))

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Of each arm, of shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(statistics), self.min_propensity)

    def sample(self, statistics: RewardStatistics, generator: np.random.Generator) -> NDArray[np.intp]:
        """Arms for many problems at once, by a draw from each posterior: the same law without a floor.

        Of the statistics' shape without its last axis.
        """
        return np.asarray(np.argmax(generator.beta(*self.posterior(statistics)), axis=-1))
