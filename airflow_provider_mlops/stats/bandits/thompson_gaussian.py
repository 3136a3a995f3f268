"""Thompson sampling for rewards of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.bandits.probability_of_best import normal_best, student_best
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GaussianThompson:
    r"""Takes each arm as often as its mean is likely to be the greatest.

    Without `noise`, each arm's mean and variance are unknown, with a normal-inverse-gamma prior; the posterior of the
    mean is Student's with :math:`2a_n` degrees of freedom, centre :math:`m_n` and scale :math:`\sqrt{b_n/(a_n k_n)}`,

    .. math:: k_n = k + n,\quad m_n = \frac{k m + \sum x}{k_n},\quad a_n = a + \tfrac n2,\quad
              b_n = b + \tfrac12\Big(\sum x^2 - n\bar x^2\Big) + \frac{k n (\bar x - m)^2}{2 k_n}

    DeGroot (1970), *Optimal Statistical Decisions*, chapter 9. With `noise` the standard deviation within all arms is
    known and the posterior normal. Korda, Kaufmann and Munos (2013), *Thompson sampling for 1-dimensional exponential
    family bandits*, NeurIPS 26, show that this reaches the bound of Lai and Robbins with Jeffreys' prior, which is the
    limit of a `prior_count` of 0. With an unknown variance that depends on the prior: Honda and Takemura (2014),
    *Optimality of Thompson sampling for Gaussian bandits depends on priors*, AISTATS. A prior that thinks the first few
    equal rewards mean no variance gives up an arm for good, so choose a `prior_std` of the size of the rewards'
    true one, and keep a floor.

    Parameters
    ----------
    prior_mean, prior_count
        What each arm is thought to be worth before any reward, and how many rewards that counts as, above 0.
    prior_deviation, prior_freedom
        A guess of the standard deviation within an arm, and how many rewards it counts as, both above 0:
        :math:`a = \nu/2` and :math:`b = a\sigma^2`.
    noise
        The standard deviation within an arm, where it is known.
    min_propensity
        Least probability of any arm.

    >>> statistics = RewardStatistics.of([0, 0, 1, 1], [1.0, 3.0, 2.0, 2.4], 2)
    >>> GaussianThompson(prior_mean=2.0).propensities(statistics).round(3)
    array([0.422, 0.578])
    """

    prior_mean: float = 0.0
    prior_count: float = 0.01
    prior_std: float = 1.0
    prior_freedom: float = 2.0
    noise: float | None = None
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        positive = [self.prior_count, self.prior_std, self.prior_freedom]
        if not all(part > 0 for part in [*positive, *([] if self.noise is None else [self.noise])]):
            raise ValueError("prior_count, prior_deviation, prior_freedom and noise must be above 0")

    def posterior(self, statistics: RewardStatistics) -> tuple[Floats, Floats, Floats]:
        """Centre, scale and degrees of freedom of each arm's mean; infinite degrees with known noise."""
        n = statistics.count
        weight = self.prior_count + n
        centre = (self.prior_count * self.prior_mean + statistics.total) / weight
        if self.noise is not None:
            return centre, self.noise / np.sqrt(weight), np.full_like(n, np.inf)
        mean = statistics.total / np.maximum(n, 1e-300)
        within = np.maximum(statistics.squares - n * mean**2, 0.0)
        between = self.prior_count * n * (mean - self.prior_mean) ** 2 / weight
        freedom = self.prior_freedom + n
        spread = (self.prior_freedom * self.prior_std**2 + within + between) / freedom
        return centre, np.sqrt(spread / weight), freedom

    def probability_of_best(self, statistics: RewardStatistics) -> Floats:
        """That each arm is the best one, of shape `(arms,)`, from statistics of that shape."""
        centre, scale, freedom = self.posterior(statistics)
        return student_best(centre, scale, freedom) if self.noise is None else normal_best(centre, scale)

    def propensities(self, statistics: RewardStatistics) -> Floats:
        """Of each arm, of shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(statistics), self.min_propensity)

    def sample(self, statistics: RewardStatistics, generator: np.random.Generator) -> NDArray[np.intp]:
        """Arms for many problems at once, by a draw from each posterior: the same law without a floor."""
        centre, scale, freedom = self.posterior(statistics)
        drawn = generator.standard_t(freedom) if self.noise is None else generator.standard_normal(centre.shape)
        return np.asarray(np.argmax(centre + scale * drawn, axis=-1))
