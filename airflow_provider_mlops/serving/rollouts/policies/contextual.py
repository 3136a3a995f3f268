"""Contextual bandits: the arm that has earned most for requests like this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Arm, Choice, RoutingRequest
from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, RidgeFit
from airflow_provider_mlops.stats.bandits.propensity import draw


class ContextualAlgorithm(Protocol):
    """Turns a fit and features into the probability of each arm: one of `stats.bandits`."""

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> NDArray[np.float64]:
        """Of each arm."""


class Contextual:
    """Draws an arm with the probabilities that follow from the request's context and the statistics.

    :param statistics: one place for each arm, in the order of `arms`, of features as `encoding` makes them.
    :param strength: of the ridge that keeps the fit defined before there are rewards.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        algorithm: ContextualAlgorithm,
        encoding: FeatureEncoding,
        statistics: LinearStatistics,
        strength: float = 1.0,
    ) -> None:
        self._arms = tuple(arms)
        self._algorithm = algorithm
        self._encoding = encoding
        self._fit = RidgeFit.of(statistics, strength)

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """By one number at random and the context; what of it is missing counts as usual.

        >>> from airflow_provider_mlops.stats.bandits.linucb import LinUCB
        >>> encoding = FeatureEncoding(categories={"place": ("north",)})
        >>> statistics = LinearStatistics.of([0, 1], [[1, 1, 0], [1, 1, 0]], [0, 1], 2)
        >>> policy = Contextual((Arm("champion", 1), Arm("candidate", 2)), LinUCB(0.1), encoding, statistics)
        >>> policy.choose(RoutingRequest(context={"place": "north"})).version
        2
        """
        shares = self._algorithm.propensities(self._fit, self._encoding.encode(request.context))
        place = draw(shares, request.random())
        arm = self._arms[place]
        return Choice(arm.version, arm.name, float(shares[place]))

    def weights(self) -> dict[tuple[int, str], float]:
        """The probability of each arm for a request without context."""
        shares = self._algorithm.propensities(self._fit, self._encoding.encode(None))
        return {(arm.version, arm.name): float(share) for arm, share in zip(self._arms, shares, strict=True)}
