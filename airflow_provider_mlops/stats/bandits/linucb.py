"""LinUCB: the arm that could be the best for this request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
from airflow_provider_mlops.stats.bandits.propensity import one_hot, with_floor

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinUCB:
    r"""Takes the arm with the greatest :math:`x^\top\theta_a + \alpha\sqrt{x^\top A_a^{-1} x}`.

    Li, Chu, Langford and Schapire (2010), *A contextual-bandit approach to personalized news article recommendation*,
    WWW, section 3.1 (disjoint models). Deterministic, as `UCB1` is: the first of equal arms, but for the floor.

    Parameters
    ----------
    exploration
        The :math:`\alpha`, not negative.
    min_propensity
        Least probability of any arm.

    >>> from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    >>> fit = RidgeFit.of(LinearStatistics.of([0, 1], [[1.0], [1.0]], [1.0, 0.0], 2))
    >>> LinUCB(min_propensity=0.05).propensities(fit, [1.0])
    array([0.95, 0.05])
    """

    exploration: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        if not self.exploration >= 0:
            raise ValueError(f"exploration must not be negative, not {self.exploration}")

    def index(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """What each arm could be worth: of shape `(arms,)`, or `(requests, arms)` for a matrix of features."""
        return fit.means(features) + self.exploration * fit.deviations(features)

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Of each arm, of the index's shape, exactly."""
        index = self.index(fit, features)
        return with_floor(one_hot(np.argmax(index, axis=-1), index.shape[-1]), self.min_propensity)
