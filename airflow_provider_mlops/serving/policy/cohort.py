"""A cohort first: chosen requests get the candidate, and another policy decides about all others."""

from __future__ import annotations

from typing_extensions import override

from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, COHORT, Choice, Policy, RoutingRequest


class CohortFirst(Policy):
    """Policy that sends the requests of a cohort to one version, and leaves the others to another policy.

    A request of the cohort has no other choice, so its propensity is 1. Its arm is `cohort`, not `candidate`, because
    its requests were not chosen at random and must not count with those that were.

    Parameters
    ----------
    version
        Version for the cohort.
    others
        Policy for all other requests.

    Examples
    --------
    >>> from airflow_provider_mlops.serving.policy.direct import Direct
    >>> policy = CohortFirst(2, Direct(1))
    >>> policy.choose(RoutingRequest(in_cohort=True))
    Choice(version=2, arm='cohort', propensity=1.0, rollout_context=None)
    >>> policy.choose().version, policy.weights()
    (1, {(1, 'champion'): 1.0})
    """

    def __init__(self, version: int, others: Policy) -> None:
        self._choice = Choice(version, COHORT, 1.0)
        self._others = others

    @override
    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        return self._choice if request.in_cohort else self._others.choose(request)

    @override
    def weights(self) -> dict[tuple[int, str], float]:
        """Return the shares of the requests outside the cohort: how many are in it is not known in advance."""
        return self._others.weights()
