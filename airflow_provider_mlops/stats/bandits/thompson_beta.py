"""Thompson sampling for rewards between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.probability_of_best import beta_probability_of_best
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.checks import check_positive


@dataclass(frozen=True, slots=True)
class BetaThompson:
    r"""Policy that takes each arm with the probability that it is the best one.

    The rate of each arm has the posterior :math:`\mathrm{Beta}(a + s,\, b + n - s)`. Thompson (1933), *On the
    likelihood that one unknown probability exceeds another in view of the evidence of two samples*, Biometrika 25(3/4).
    Its regret reaches the bound of Lai and Robbins: Kaufmann, Korda and Munos (2012), *Thompson sampling: an
    asymptotically optimal finite-time analysis*, ALT. Rewards between 0 and 1 count as fractions of a success.

    Parameters
    ----------
    prior_successes, prior_failures
        The :math:`a` and :math:`b` of the prior, above 0. One each is uniform.
    min_propensity
        Smallest probability of any arm.

    Examples
    --------
    >>> policy = BetaThompson()
    >>> policy.propensities(RewardStatistics.of([0, 0, 1, 1], [1, 1, 0, 1], 2)).round(3)
    array([0.8, 0.2])
    """

    prior_successes: float = 1.0
    prior_failures: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_positive(prior_successes=self.prior_successes, prior_failures=self.prior_failures)

    def posterior(self, statistics: RewardStatistics) -> tuple[Floats, Floats]:
        """Return both parameters of each arm's beta distribution, in the shape of the statistics."""
        if np.any(statistics.total < 0) or np.any(statistics.total > statistics.count):
            raise ValueError("rewards must be between 0 and 1 for BetaThompson; use GaussianThompson for other rewards")
        failures = statistics.count - statistics.total
        return self.prior_successes + statistics.total, self.prior_failures + failures

    def probability_of_best(self, statistics: RewardStatistics) -> Floats:
        """Return the probability that each arm is the best one, from statistics of shape `(arms,)`."""
        return beta_probability_of_best(*self.posterior(statistics))

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Return the probability of each arm, shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(statistics), self.min_propensity)

    def sample(self, statistics: RewardStatistics, generator: np.random.Generator) -> NDArray[np.intp]:
        """Draw arms for many problems at once, with the probabilities of `propensities` without a floor.

        The result has the shape of the statistics without its last axis.
        """
        return np.asarray(np.argmax(generator.beta(*self.posterior(statistics)), axis=-1))
