"""The champion answers, and another version gets a copy of a share of the requests."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Arm, Choice, RoutingRequest


@dataclass(frozen=True)
class Shadow:
    """The caller sees the champion only.

    :ivar share: of the requests that are copied, from 0 to 1.
    """

    champion: Arm
    shadow: Arm
    share: float = 1.0

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """Always the champion.

        >>> Shadow(Arm("champion", 1), Arm("shadow", 2)).choose().version
        1
        """
        return Choice(self.champion.version, self.champion.name, 1.0)

    def copy(self, request: RoutingRequest = ANYBODY) -> Choice | None:
        """Who gets a copy of the request, with the probability that it gets one; None if nobody does.

        >>> Shadow(Arm("champion", 1), Arm("shadow", 2), 0.5).copy(RoutingRequest(random=lambda: 0.6))
        """
        if self.share < 1 and request.random() >= self.share:
            return None
        return Choice(self.shadow.version, self.shadow.name, self.share)

    def weights(self) -> dict[tuple[int, str], float]:
        """Of those who answer.

        >>> Shadow(Arm("champion", 1), Arm("shadow", 2)).weights()
        {(1, 'champion'): 1.0}
        """
        return {(self.champion.version, self.champion.name): 1.0}
