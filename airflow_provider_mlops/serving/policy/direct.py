"""All traffic to one version."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mlops.serving.policy.policy import ANYBODY, CHAMPION, Choice, RoutingRequest


@dataclass(frozen=True)
class Direct:
    """All requests go to one version."""

    version: int
    arm: str = CHAMPION

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """Always the same version.

        >>> Direct(3).choose()
        Choice(version=3, arm='champion', propensity=1.0, marks=None)
        """
        return Choice(self.version, self.arm, 1.0)

    def weights(self) -> dict[tuple[int, str], float]:
        """All to one.

        >>> Direct(3).weights()
        {(3, 'champion'): 1.0}
        """
        return {(self.version, self.arm): 1.0}
