"""Direct routing: all requests go to one version."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, CHAMPION, Choice, Policy, RoutingRequest


@dataclass(frozen=True)
class Direct(Policy):
    """Policy that sends all requests to one version.

    >>> Direct(3).choose()
    Choice(version=3, arm='champion', propensity=1.0, rollout_context=None)
    >>> Direct(3).weights()
    {(3, 'champion'): 1.0}
    """

    version: int
    arm: str = CHAMPION

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        return Choice(self.version, self.arm, 1.0)

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        return {(self.version, self.arm): 1.0}
