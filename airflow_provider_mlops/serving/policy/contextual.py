"""Contextual bandits: the arm that has earned most for similar requests gets the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, RidgeFit
from airflow_provider_mlops.stats.bandits.propensity import draw


class ContextualAlgorithm(Protocol):
    """A contextual bandit algorithm of `stats.bandits`."""

    def propensities(self, fit: RidgeFit, features: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each arm, shape (arms,)."""


class Contextual(Policy):
    """Policy that draws an arm with the probabilities that follow from the statistics and the request's context.

    Features that are missing from the context count as average ones.

    Parameters
    ----------
    statistics
        Sums of the arms' linear models, in the order of `arms`, over features as `encoding` makes them.
    l2_regularization
        Ridge penalty, which keeps the models well defined while rewards are few.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.bandits.linucb import LinUCB
    >>> encoding = FeatureEncoding(categories={"place": ("north",)})
    >>> statistics = LinearStatistics.of([0, 1], [[1, 1, 0], [1, 1, 0]], [0, 1], 2)
    >>> policy = Contextual((Arm("champion", 1), Arm("candidate", 2)), LinUCB(0.1), encoding, statistics)
    >>> policy.choose(RoutingRequest(context={"place": "north"})).version
    2
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        algorithm: ContextualAlgorithm,
        encoding: FeatureEncoding,
        statistics: LinearStatistics,
        l2_regularization: float = 1.0,
    ) -> None:
        self._arms = tuple(arms)
        self._algorithm = algorithm
        self._encoding = encoding
        self._fit = RidgeFit.of(statistics, l2_regularization)

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        propensities = self._algorithm.propensities(self._fit, self._encoding.encode(request.context))
        position = draw(propensities, request.random())
        arm = self._arms[position]
        return Choice(arm.version, arm.name, float(propensities[position]))

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        shares = self._algorithm.propensities(self._fit, self._encoding.encode(None))
        return {(arm.version, arm.name): float(share) for arm, share in zip(self._arms, shares, strict=True)}
