"""Bandits: the more an arm has earned, the more requests it gets."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Arm, Choice, RoutingRequest
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics


class Algorithm(Protocol):
    """Turns statistics into the probability of each arm: one of `stats.bandits`."""

    def propensities(self, statistics: RewardStatistics) -> NDArray[np.float64]:
        """Of each arm."""


class Bandit:
    """Draws an arm with the probabilities that follow from the statistics as they were when it was built.

    They are worked out once. Between two looks at the statistics all requests are drawn alike, which is a bandit
    whose rewards come in batches; the propensities that are logged are exactly those that were drawn with.

    :param statistics: one place for each arm, in the order of `arms`.
    """

    def __init__(self, arms: Sequence[Arm], algorithm: Algorithm, statistics: RewardStatistics) -> None:
        shares = [float(share) for share in algorithm.propensities(statistics)]
        self._choices = [Choice(arm.version, arm.name, share) for arm, share in zip(arms, shares, strict=True)]
        self._sums = list(itertools.accumulate(shares))
        # Rounding may leave the last sum just below a number; then it is the last arm that can be drawn at all.
        self._last = max(place for place, share in enumerate(shares) if share > 0)

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """By one number at random. A key changes nothing: a bandit is not sticky.

        >>> from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
        >>> arms = Arm("champion", 1), Arm("candidate", 2)
        >>> bandit = Bandit(arms, BetaThompson(), RewardStatistics.of([0, 0, 1, 1], [1, 1, 0, 1], 2))
        >>> choice = bandit.choose(RoutingRequest(random=lambda: 0.9))
        >>> choice.version, round(choice.propensity, 3)
        (2, 0.2)
        """
        return self._choices[min(bisect_right(self._sums, request.random()), self._last)]

    def weights(self) -> dict[tuple[int, str], float]:
        """The probability of each arm now."""
        return {(choice.version, choice.arm): choice.propensity for choice in self._choices}
