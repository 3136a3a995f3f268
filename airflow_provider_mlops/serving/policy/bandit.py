"""Bandits: the more reward an arm has earned, the more requests it gets."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics


class Algorithm(Protocol):
    """A bandit algorithm of `stats.bandits`."""

    def propensities(self, statistics: RewardStatistics) -> NDArray[np.float64]:
        """Return the probability of each arm, shape (arms,)."""


class Bandit(Policy):
    """Policy that draws an arm with the probabilities that follow from the reward statistics.

    The probabilities are computed once, when the policy is built. All requests until the next statistics are drawn with
    them, as in a bandit whose rewards arrive in batches, and they are logged as the propensities. A bandit is not
    sticky: the key of a request has no effect.

    Parameters
    ----------
    statistics
        Rewards of the arms, in the order of `arms`.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
    >>> arms = Arm("champion", 1), Arm("candidate", 2)
    >>> bandit = Bandit(arms, BetaThompson(), RewardStatistics.of([0, 0, 1, 1], [1, 1, 0, 1], 2))
    >>> choice = bandit.choose(RoutingRequest(random=lambda: 0.9))
    >>> choice.version, round(choice.propensity, 3)
    (2, 0.2)
    """

    def __init__(self, arms: Sequence[Arm], algorithm: Algorithm, statistics: RewardStatistics) -> None:
        propensities = [float(propensity) for propensity in algorithm.propensities(statistics)]
        self._choices = [
            Choice(arm.version, arm.name, propensity) for arm, propensity in zip(arms, propensities, strict=True)
        ]
        self._cumulative = list(itertools.accumulate(propensities))
        # Rounding may leave the last sum just below a number; then the last arm that can be drawn at all is chosen.
        self._last = max(position for position, propensity in enumerate(propensities) if propensity > 0)

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        return self._choices[min(bisect_right(self._cumulative, request.random()), self._last)]

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        return {(choice.version, choice.arm): choice.propensity for choice in self._choices}
