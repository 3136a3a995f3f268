"""Thompson sampling for rewards of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.probability_of_best import (
    normal_probability_of_best,
    student_probability_of_best,
)
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.checks import check_positive


@dataclass(frozen=True, slots=True)
class GaussianThompson:
    r"""Policy that takes each arm with the probability that its mean is the greatest.

    Without `known_std`, each arm's mean and variance are unknown, with a normal-inverse-gamma prior. The posterior of
    the mean is then Student's with :math:`2a_n` degrees of freedom, center :math:`m_n` and scale :math:`\sqrt{b_n/(a_n
    k_n)}`,

    .. math:: k_n = k + n,\quad m_n = \frac{k m + \sum x}{k_n},\quad a_n = a + \tfrac n2,\quad
              b_n = b + \tfrac12\Big(\sum x^2 - n\bar x^2\Big) + \frac{k n (\bar x - m)^2}{2 k_n}

    DeGroot (1970), *Optimal Statistical Decisions*, chapter 9. With `known_std` the standard deviation within all arms
    is known and the posterior is normal. Korda, Kaufmann and Munos (2013), *Thompson sampling for 1-dimensional
    exponential family bandits*, NeurIPS 26, show that this reaches the bound of Lai and Robbins with Jeffreys' prior,
    which is the limit of a `prior_count` of 0. With an unknown variance that depends on the prior: Honda and Takemura
    (2014), *Optimality of Thompson sampling for Gaussian bandits depends on priors*, AISTATS. A prior that takes a few
    equal first rewards for a variance of 0 drops an arm for good, so choose a `prior_std` of the same size as the true
    standard deviation, and keep a floor.

    Parameters
    ----------
    prior_mean, prior_count
        Expected reward of each arm before any reward, and the number of rewards that this expectation counts as, above
        0.
    prior_std, prior_degrees_of_freedom
        A guess of the standard deviation within an arm, and the number of rewards that it counts as, both above 0:
        :math:`a = \nu/2` and :math:`b = a\sigma^2`.
    known_std
        Standard deviation within an arm, if it is known.
    min_propensity
        Smallest probability of any arm.

    Examples
    --------
    >>> statistics = RewardStatistics.of([0, 0, 1, 1], [1.0, 3.0, 2.0, 2.4], 2)
    >>> GaussianThompson(prior_mean=2.0).propensities(statistics).round(3)
    array([0.422, 0.578])
    """

    prior_mean: float = 0.0
    prior_count: float = 0.01
    prior_std: float = 1.0
    prior_degrees_of_freedom: float = 2.0
    known_std: float | None = None
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_positive(
            prior_count=self.prior_count,
            prior_std=self.prior_std,
            prior_degrees_of_freedom=self.prior_degrees_of_freedom,
        )
        if self.known_std is not None:
            check_positive(known_std=self.known_std)

    def posterior(self, statistics: RewardStatistics) -> tuple[Floats, Floats, Floats]:
        """Return center, scale and degrees of freedom of each arm's mean; the degrees are infinite with `known_std`."""
        n = statistics.count
        weight = self.prior_count + n
        center = (self.prior_count * self.prior_mean + statistics.total) / weight
        if self.known_std is not None:
            return center, self.known_std / np.sqrt(weight), np.full_like(n, np.inf)
        mean = statistics.total / np.maximum(n, 1e-300)
        within = statistics.deviations
        between = self.prior_count * n * (mean - self.prior_mean) ** 2 / weight
        degrees_of_freedom = self.prior_degrees_of_freedom + n
        spread = (self.prior_degrees_of_freedom * self.prior_std**2 + within + between) / degrees_of_freedom
        return center, np.sqrt(spread / weight), degrees_of_freedom

    def probability_of_best(self, statistics: RewardStatistics) -> Floats:
        """Return the probability that each arm is the best one, from statistics of shape `(arms,)`."""
        center, scale, degrees_of_freedom = self.posterior(statistics)
        return (
            student_probability_of_best(center, scale, degrees_of_freedom)
            if self.known_std is None
            else normal_probability_of_best(center, scale)
        )

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Return the probability of each arm, shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(statistics), self.min_propensity)

    def sample(self, statistics: RewardStatistics, generator: np.random.Generator) -> NDArray[np.intp]:
        """Draw arms for many problems at once, with the probabilities of `propensities` without a floor.

        The result has the shape of the statistics without its last axis.
        """
        center, scale, degrees_of_freedom = self.posterior(statistics)
        drawn = (
            generator.standard_t(degrees_of_freedom)
            if self.known_std is None
            else generator.standard_normal(center.shape)
        )
        return np.asarray(np.argmax(center + scale * drawn, axis=-1))
