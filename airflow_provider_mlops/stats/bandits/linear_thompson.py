"""Thompson sampling with a linear model of the rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
from airflow_provider_mlops.stats.bandits.probability_of_best import normal_probability_of_best
from airflow_provider_mlops.stats.bandits.propensity import with_floor
from airflow_provider_mlops.stats.checks import check_positive


@dataclass(frozen=True, slots=True)
class LinearThompson:
    r"""Policy that takes each arm with the probability that it is the best one for this request.

    The coefficients of each arm have the posterior :math:`N(\theta_a, v^2 A_a^{-1})`. Agrawal and Goyal (2013),
    *Thompson sampling for contextual bandits with linear payoffs*, ICML, here with a model for each arm. The expected
    rewards for given features are therefore independent and normal, with means :math:`x^\top\theta_a` and standard
    deviations :math:`v\sqrt{x^\top A_a^{-1} x}`, so the propensities are a single integral and need no simulation.

    Parameters
    ----------
    std
        The :math:`v`, above 0: standard deviation of rewards around the linear model. Larger values explore more.
    min_propensity
        Smallest probability of any arm.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    >>> fit = RidgeFit.of(LinearStatistics.of([0, 1], [[1.0], [1.0]], [1.0, 0.0], 2))
    >>> LinearThompson().propensities(fit, [1.0]).round(4)
    array([0.6915, 0.3085])
    """

    std: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_positive(std=self.std)

    def probability_of_best(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Return the probability that each arm is the best one for a vector of features, shape `(arms,)`."""
        # If all features are 0, nothing is uncertain; a tiny standard deviation keeps the integral defined.
        return normal_probability_of_best(fit.means(features), np.maximum(self.std * fit.stds(features), 1e-12))

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Return the probability of each arm for a vector of features, shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(fit, features), self.min_propensity)

    def sample(self, fit: RidgeFit, features: ArrayLike, generator: np.random.Generator) -> NDArray[np.intp]:
        """Draw arms for many requests at once, with the probabilities of `propensities` without a floor."""
        means, stds = fit.means(features), fit.stds(features)
        drawn = generator.standard_normal(means.shape)
        return np.asarray(np.argmax(means + self.std * stds * drawn, axis=-1))
