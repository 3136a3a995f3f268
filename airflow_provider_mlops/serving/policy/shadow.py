"""Shadow: the champion answers all requests, and another version answers copies of some of them."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Arm, Choice, Policy, RoutingRequest


@dataclass(frozen=True)
class Shadow(Policy):
    """Policy that sends every request to the champion and copies of some of them to the shadow.

    Parameters
    ----------
    share
        Share of the requests that are also sent to the candidate as copies, between 0 and 1.

    Examples
    --------
    >>> policy = Shadow(Arm("champion", 1), Arm("shadow", 2), share=0.5)
    >>> policy.choose().version, policy.weights()
    (1, {(1, 'champion'): 1.0})
    """

    champion: Arm
    shadow: Arm
    share: float = 1.0

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        return Choice(self.champion.version, self.champion.name, 1.0)

    def copy(self, request: RoutingRequest = ANY_REQUEST) -> Choice | None:
        """Return the shadow with the probability that it gets a copy; None if this request is not copied.

        >>> Shadow(Arm("champion", 1), Arm("shadow", 2), 0.5).copy(RoutingRequest(random=lambda: 0.6))
        """
        if self.share < 1 and request.random() >= self.share:
            return None
        return Choice(self.shadow.version, self.shadow.name, self.share)

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        return {(self.champion.version, self.champion.name): 1.0}
