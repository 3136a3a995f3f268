"""Canary: a share of the requests goes to the candidate."""

from __future__ import annotations

from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.policy.sticky import StickyHash


class Canary(Policy):
    """Policy that sends the share `weight` of the requests to the candidate and the rest to the champion.

    The hash of a request's key decides where it goes, so that users who have seen the candidate keep seeing it as its
    weight grows. Requests without a key are drawn at random.

    Parameters
    ----------
    weight
        Share of the candidate, between 0 and 1.
    salt
        Id of the rollout.

    Examples
    --------
    >>> canary = Canary(Arm("champion", 1), Arm("candidate", 2), 0.05, "rollout-1")
    >>> canary.choose(RoutingRequest(random=lambda: 0.04)).version
    2
    """

    def __init__(self, champion: Arm, candidate: Arm, weight: float, salt: str) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must be between 0 and 1, not {weight}")
        self._weight = weight
        self._hash = StickyHash(salt)
        self._champion = Choice(champion.version, champion.name, 1 - weight)
        self._candidate = Choice(candidate.version, candidate.name, weight)

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        key = request.key
        number = request.random() if key is None else self._hash.uniforms(key)[0]
        return self._candidate if number < self._weight else self._champion

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        return {(choice.version, choice.arm): choice.propensity for choice in (self._champion, self._candidate)}
