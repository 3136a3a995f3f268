"""The route of one model's requests while a rollout of the model is in progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, COHORT, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.policy.shadow import Shadow
from airflow_provider_mlops.serving.policy.sticky import StickyHash
from airflow_provider_mlops.serving.rollouts.cohort_members import CohortMembers
from airflow_provider_mlops.serving.rollouts.plan.strategies import ContextualStrategy
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context


class Route:
    """A rollout's policy, with what it needs to know about a request and what is logged with its choices. Immutable.

    Attributes
    ----------
    champion
        Version that answered all requests when the rollout started.
    copies
        Whether some requests are copied to a shadow.
    needs_fields
        Whether `request` reads columns of the request, so that the body must be parsed first.
    """

    def __init__(self, rollout: Rollout, policy: Policy) -> None:
        self.rollout = rollout
        self.policy = policy
        self.champion = rollout.plan.champion
        self.copies = isinstance(policy, Shadow)
        self._context = answer_context(rollout.id, rollout.state.step)
        sticky, strategy = rollout.plan.sticky, rollout.plan.strategy
        self._header = _header_name(sticky.name) if sticky and sticky.source == "header" else None
        self._field = sticky.name if sticky and sticky.source == "field" else None
        self._hash = StickyHash(rollout.id) if sticky else None
        self._features = strategy.features if isinstance(strategy, ContextualStrategy) else ()
        self._cohort = None if rollout.plan.cohort is None else CohortMembers(rollout.plan.cohort)
        self._is_cohort_step = rollout.plan.is_cohort_step(rollout.state.step)
        self.needs_fields = (
            self._field is not None
            or (self._cohort is not None and self._cohort.field is not None)
            or any(feature.source == "field" for feature in self._features)
        )
        self._ignores_request = sticky is None and self._cohort is None and not self._features

    def request(self, headers: Mapping[bytes, bytes], field: Callable[[str], Any]) -> RoutingRequest:
        """Return what the policy may know about a request.

        Parameters
        ----------
        headers
            Headers with names in lower case; the values of a repeated header are separated by commas.
        field
            Function that returns the value of a column in the request's first row, or None if there is none.
        """
        if self._ignores_request:
            return ANY_REQUEST
        key: str | None = None
        if self._header is not None and (header := headers.get(self._header)):
            key = header.decode("latin-1")
        elif self._field is not None and (value := field(self._field)) is not None:
            key = str(value)
        context = {
            feature.name: _feature_value(feature.source, feature.name, headers, field) for feature in self._features
        }
        in_cohort = self._cohort is not None and self._cohort.include(headers, field)
        return RoutingRequest(key, context or None, in_cohort)

    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        """Return the policy's choice, with the fields that the log keeps.

        Requests that were not chosen at random do not take part in the rollout, unless they count as the cohort's: in
        the cohort's step, all requests outside the cohort; after a rollback, those of the cohort.
        """
        choice = self.policy.choose(request)
        if choice.arm != COHORT and (self._is_cohort_step or request.in_cohort):
            return choice
        return Choice(choice.version, choice.arm, choice.propensity, self._context_of(request))

    def copy(self, request: RoutingRequest = ANY_REQUEST) -> Choice | None:
        """Return the version that gets a copy of the request off the response path; None if it is not copied."""
        if not isinstance(self.policy, Shadow):
            return None
        choice = self.policy.copy(request)
        return None if choice is None else Choice(choice.version, choice.arm, choice.propensity, self._context)

    def _context_of(self, request: RoutingRequest) -> RolloutContext:
        if self._ignores_request:
            return self._context
        key = None if request.key is None or self._hash is None else self._hash.hexadecimal(request.key)
        return answer_context(self._context["rollout"], self._context["step"], context=request.context, key=key)


def _header_name(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")


def _feature_value(
    source: Literal["field", "header", "hour"],
    name: str,
    headers: Mapping[bytes, bytes],
    field: Callable[[str], Any],
) -> Any:
    if source == "hour":
        return datetime.now(UTC).hour
    if source == "header":
        value = headers.get(_header_name(name))
        return None if value is None else value.decode("latin-1")
    return field(name)
