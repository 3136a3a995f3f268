"""Thompson sampling with a linear model of the rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
from airflow_provider_mlops.stats.bandits.probability_of_best import normal_best
from airflow_provider_mlops.stats.bandits.propensity import with_floor

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearThompson:
    r"""Takes each arm as often as it is likely to be the best one for this request.

    The coefficients of each arm have the posterior :math:`N(\theta_a, v^2 A_a^{-1})`. Agrawal and Goyal (2013),
    *Thompson sampling for contextual bandits with linear payoffs*, ICML, here with a model for each arm. What the arms
    are worth for given features is then independent and normal, with means :math:`x^\top\theta_a` and deviations
    :math:`v\sqrt{x^\top A_a^{-1} x}`, so that the propensities need no simulation: they are one integral.

    Parameters
    ----------
    std
        The :math:`v`, above 0: the standard deviation of rewards around the linear model. A greater one explores more.
    min_propensity
        Least probability of any arm.

    >>> from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    >>> fit = RidgeFit.of(LinearStatistics.of([0, 1], [[1.0], [1.0]], [1.0, 0.0], 2))
    >>> LinearThompson().propensities(fit, [1.0]).round(4)
    array([0.6915, 0.3085])
    """

    std: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"deviation must be above 0, not {self.std}")

    def probability_of_best(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """That each arm is the best one for a vector of features, of shape `(arms,)`."""
        # Features that are all 0 leave nothing uncertain; a deviation of nothing keeps the integral defined.
        return normal_best(fit.means(features), np.maximum(self.std * fit.deviations(features), 1e-12))

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Of each arm for a vector of features, of shape `(arms,)`, by numerical integration."""
        return with_floor(self.probability_of_best(fit, features), self.min_propensity)

    def sample(self, fit: RidgeFit, features: ArrayLike, generator: np.random.Generator) -> NDArray[np.intp]:
        """Arms for many requests at once, by draws from the posterior: the same law without a floor."""
        means, deviations = fit.means(features), fit.deviations(features)
        drawn = generator.standard_normal(means.shape)
        return np.asarray(np.argmax(means + self.std * deviations * drawn, axis=-1))
