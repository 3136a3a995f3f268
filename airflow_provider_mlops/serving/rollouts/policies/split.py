"""A/B: fixed shares for two arms or more, the same arm for the same key."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Arm, Choice, RoutingRequest
from airflow_provider_mlops.serving.rollouts.policies import sticky


class Split:
    r"""Each arm gets its share of the keys; requests without a key are drawn.

    Of a key, arm :math:`a` gets the number :math:`-\log(u_a) / w_a` for its weight :math:`w_a` and a hash
    :math:`u_a`, and the arm with the least number wins: the first of exponential clocks, which is :math:`a` with
    probability :math:`w_a`. Weighted rendezvous hashing: Schindelhauer and Schomaker (2005), *Weighted distributed
    hash tables*, SPAA. Where one weight is raised against the others, keys move to that arm, and none moves between
    the others.

    :param weights: of the arms, in their order, summing to one.
    :param salt: the rollout's id.
    """

    def __init__(self, arms: Sequence[Arm], weights: Sequence[float], salt: str) -> None:
        if not 1 <= len(arms) <= sticky.MOST or len(arms) != len(weights):
            raise ValueError(f"a split needs one weight for each of 1 to {sticky.MOST} arms, not {weights}")
        if min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-9):
            raise ValueError(f"weights must not be negative and sum to one, not {weights}")
        # An arm of weight 0 can win neither way.
        able = [(arm, weight, place) for place, (arm, weight) in enumerate(zip(arms, weights, strict=True)) if weight]
        self._arms = tuple(zip(arms, weights, strict=True))
        self._choices = [Choice(arm.version, arm.name, weight) for arm, weight, _ in able]
        self._able = [(place, -weight) for _, weight, place in able]
        self._sums = list(itertools.accumulate(weight for _, weight, _ in able))
        self._hash = sticky.Hash(salt, len(arms))

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """By the key's hash, or at random.

        >>> split = Split((Arm("champion", 1), Arm("candidate", 2)), (0.5, 0.5), "rollout-1")
        >>> len({split.choose(RoutingRequest(key="ada")).arm for _ in range(100)})
        1
        """
        if request.key is None:
            # Rounding may leave the last sum just below the number.
            return self._choices[min(bisect_right(self._sums, request.random()), len(self._choices) - 1)]
        numbers = self._hash.uniforms(request.key)
        # The hash may be 0, of which there is no logarithm.
        clocks = [math.log(numbers[place] or 2.0**-54) / negative for place, negative in self._able]
        return self._choices[clocks.index(min(clocks))]

    def weights(self) -> dict[tuple[int, str], float]:
        """Of the arms."""
        return {(arm.version, arm.name): weight for arm, weight in self._arms}
