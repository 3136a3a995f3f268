"""A share of the traffic to the candidate."""

from __future__ import annotations

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Arm, Choice, RoutingRequest
from airflow_provider_mlops.serving.rollouts.policies import sticky


class Canary:
    """The candidate gets `weight` of the requests, the champion the others.

    A request with a key is sent where the hash of its key says: who has seen the candidate keeps seeing it as its
    weight grows.

    :param salt: the rollout's id.
    """

    def __init__(self, champion: Arm, candidate: Arm, weight: float, salt: str) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must lie between 0 and 1, not {weight}")
        self._weight = weight
        self._hash = sticky.Hash(salt)
        self._champion = Choice(champion.version, champion.name, 1 - weight)
        self._candidate = Choice(candidate.version, candidate.name, weight)

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """The candidate for numbers below the weight.

        >>> canary = Canary(Arm("champion", 1), Arm("candidate", 2), 0.05, "rollout-1")
        >>> canary.choose(RoutingRequest(random=lambda: 0.04)).version
        2
        """
        key = request.key
        number = request.random() if key is None else self._hash.uniforms(key)[0]
        return self._candidate if number < self._weight else self._champion

    def weights(self) -> dict[tuple[int, str], float]:
        """Of both arms."""
        return {(choice.version, choice.arm): choice.propensity for choice in (self._champion, self._candidate)}
