"""How the requests for one model are routed while a rollout of it is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_mlops.serving.policy.policy import ANYBODY, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.rollouts.policies.shadow import Shadow
from airflow_provider_mlops.serving.rollouts.policies.sticky import Hash
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.rollout_context import marks
from airflow_provider_mlops.serving.rollouts.strategies import ContextualStrategy


class Route:
    """A rollout's policy, with what it has to know of a request and what is logged of its choices. Never changed.

    :ivar champion: the version that answered when the rollout began.
    :ivar copies: whether some requests are copied.
    :ivar needs_fields: whether `request` asks for columns of the request, so that its body must be read first.
    """

    def __init__(self, rollout: Rollout, policy: Policy) -> None:
        self.rollout = rollout
        self.policy = policy
        self.champion = rollout.plan.champion
        self.copies = isinstance(policy, Shadow)
        self._marks = marks(rollout.id, rollout.state.step)
        sticky, strategy = rollout.plan.sticky, rollout.plan.strategy
        self._header = (
            sticky.name.lower().encode("latin-1", "replace") if sticky and sticky.source == "header" else None
        )
        self._field = sticky.name if sticky and sticky.source == "field" else None
        self._hash = Hash(rollout.id) if sticky else None
        self._features = strategy.features if isinstance(strategy, ContextualStrategy) else ()
        self.needs_fields = self._field is not None or any(part.source == "field" for part in self._features)
        self._is_plain = sticky is None and not self._features

    def request(self, headers: Mapping[bytes, bytes], field: Callable[[str], Any]) -> RoutingRequest:
        """What the policy may know of a request.

        :param headers: as ASGI has them, names in lower case.
        :param field: gives the value of a column in the request's first row; None where there is none.
        """
        if self._is_plain:
            return ANYBODY
        key: str | None = None
        if self._header is not None and (value := headers.get(self._header)):
            key = value.decode("latin-1")
        elif self._field is not None and (found := field(self._field)) is not None:
            key = str(found)
        context = {part.name: self._feature(part.source, part.name, headers, field) for part in self._features}
        return RoutingRequest(key, context or None)

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """The policy's choice, with its marks for the log."""
        choice = self.policy.choose(request)
        return Choice(choice.version, choice.arm, choice.propensity, self._marked(request))

    def copy(self, request: RoutingRequest = ANYBODY) -> Choice | None:
        """Who gets a copy of the request off the response path; None if nobody does."""
        if not isinstance(self.policy, Shadow):
            return None
        choice = self.policy.copy(request)
        return None if choice is None else Choice(choice.version, choice.arm, choice.propensity, self._marks)

    def _marked(self, request: RoutingRequest) -> Mapping[str, Any]:
        if self._is_plain:
            return self._marks
        found = dict(self._marks)
        if request.context is not None:
            found["context"] = dict(request.context)
        if request.key is not None and self._hash is not None:
            found["key"] = self._hash.hexadecimal(request.key)
        return found

    def _feature(self, source: str, name: str, headers: Mapping[bytes, bytes], field: Callable[[str], Any]) -> Any:
        if source == "hour":
            return datetime.now(UTC).hour
        if source == "header":
            value = headers.get(name.lower().encode("latin-1", "replace"))
            return None if value is None else value.decode("latin-1")
        return field(name)
