"""LinUCB: the arm with the greatest upper confidence bound for this request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
from airflow_provider_mlops.stats.bandits.propensity import one_hot, with_floor
from airflow_provider_mlops.stats.checks import check_not_negative


@dataclass(frozen=True, slots=True)
class LinUCB:
    r"""Policy that takes the arm with the greatest :math:`x^\top\theta_a + \alpha\sqrt{x^\top A_a^{-1} x}`.

    Li, Chu, Langford and Schapire (2010), *A contextual-bandit approach to personalized news article recommendation*,
    WWW, section 3.1 (disjoint models). It is deterministic like `UCB1`, apart from the floor: of equal arms it takes
    the first.

    Parameters
    ----------
    exploration
        The :math:`\alpha`, not negative. Larger values explore more.
    min_propensity
        Smallest probability of any arm.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    >>> fit = RidgeFit.of(LinearStatistics.of([0, 1], [[1.0], [1.0]], [1.0, 0.0], 2))
    >>> LinUCB(min_propensity=0.05).propensities(fit, [1.0])
    array([0.95, 0.05])
    """

    exploration: float = 1.0
    min_propensity: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative(exploration=self.exploration)

    def index(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Return the upper confidence bound of each arm: shape `(arms,)`, or `(requests, arms)` for a matrix."""
        return fit.means(features) + self.exploration * fit.stds(features)

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> Floats:
        """Return the exact probability of each arm, in the shape of the index."""
        index = self.index(fit, features)
        return with_floor(one_hot(np.argmax(index, axis=-1), index.shape[-1]), self.min_propensity)
