"""A/B test: fixed shares for two or more arms, and the same arm for the same key."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

from typing_extensions import override

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.policy.sticky import MAX_ARMS, StickyHash


class Split(Policy):
    r"""Policy that gives each arm its share of the keys. Requests without a key are drawn at random.

    For a key, arm :math:`a` with weight :math:`w_a` gets the number :math:`-\log(u_a) / w_a`, where :math:`u_a` is a
    hash, and the arm with the smallest number wins: the first of several exponential clocks, which is :math:`a` with
    probability :math:`w_a`. If one weight rises relative to the others, keys move to that arm, and no key moves between
    the others.

    Parameters
    ----------
    weights
        Shares of the arms, in their order. They sum to one.
    salt
        Id of the rollout.

    References
    ----------
    Weighted rendezvous hashing: Schindelhauer and Schomaker (2005), *Weighted distributed hash tables*, SPAA.

    Examples
    --------
    >>> split = Split((Arm("champion", 1), Arm("candidate", 2)), (0.5, 0.5), "rollout-1")
    >>> len({split.choose(RoutingRequest(key="ada")).arm for _ in range(100)})
    1
    """

    def __init__(self, arms: Sequence[Arm], weights: Sequence[float], salt: str) -> None:
        if not 1 <= len(arms) <= MAX_ARMS or len(arms) != len(weights):
            raise ValueError(
                f"a split needs 1 to {MAX_ARMS} arms and one weight for each arm, got "
                f"{pluralize(len(arms), 'arm')} and {pluralize(len(weights), 'weight')}"
            )
        if min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-9):
            raise ValueError(f"weights must not be negative and must sum to one, not {weights}")
        # An arm with weight 0 can win neither way.
        eligible = [
            (arm, weight, position) for position, (arm, weight) in enumerate(zip(arms, weights, strict=True)) if weight
        ]
        self._arms = tuple(zip(arms, weights, strict=True))
        self._choices = [Choice(arm.version, arm.name, weight) for arm, weight, _ in eligible]
        self._rates = [(position, -weight) for _, weight, position in eligible]
        self._cumulative = list(itertools.accumulate(weight for _, weight, _ in eligible))
        self._hash = StickyHash(salt, len(arms))

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        if request.key is None:
            # Rounding may leave the last sum just below the number.
            return self._choices[min(bisect_right(self._cumulative, request.random()), len(self._choices) - 1)]
        numbers = self._hash.uniforms(request.key)
        # The hash may be 0, which has no logarithm.
        clocks = [math.log(numbers[position] or 2.0**-54) / negative for position, negative in self._rates]
        return self._choices[clocks.index(min(clocks))]

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        return {(arm.version, arm.name): weight for arm, weight in self._arms}
