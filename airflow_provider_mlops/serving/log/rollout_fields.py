"""The fields that a log record has in addition if its request belongs to a rollout. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class RolloutContext(TypedDict):
    """The fields that a record has in addition if its request belongs to a rollout. `rollout` comes first."""

    rollout: str
    """The rollout's id."""
    step: int
    """The step of the rollout at which the request was routed."""
    context: NotRequired[dict[str, Any]]
    """The declared features of the request, for policies that learn from them."""
    key: NotRequired[str]
    """A hash of the sticky key: the same key always has the same hash within a rollout."""
    shadow_of: NotRequired[str]
    """For a shadow's answer, the id of the request that was copied."""
    agreed: NotRequired[int]
    """For a shadow's answer, the number of rows on which both versions agreed."""
