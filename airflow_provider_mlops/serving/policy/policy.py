"""The interface of routing policies: what a policy knows about a request, and what it chooses.

A policy also reports the probability of its choice, so that the reward of other policies can be estimated from the log.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext

CHAMPION = "champion"
CANDIDATE = "candidate"
SHADOW = "shadow"
COHORT = "cohort"
PINNED = "pinned"
VERIFICATION = "verification"


class Choice(NamedTuple):
    """The version that answers, its arm, and the probability with which the policy chose it."""

    version: int
    arm: str
    propensity: float
    rollout_context: RolloutContext | None = None
    """Fields that the log keeps with the answer if the choice belongs to a rollout."""


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """The properties of a request that a policy may use.

    Parameters
    ----------
    key
        Sticky key of the request, such as a user id; None if the request has none or the rollout is not sticky.
    context
        Declared features of the request, for policies that learn from them.
    in_cohort
        Whether the request belongs to the cohort of a rollout.
    random
        Function that draws a number from the uniform distribution on [0, 1).
    """

    key: str | None = None
    context: Mapping[str, Any] | None = None
    in_cohort: bool = False
    random: Callable[[], float] = random.random


ANY_REQUEST = RoutingRequest()
"""A request about which nothing is known."""


@dataclass(frozen=True)
class Arm:
    """A version that a policy may choose, and its name.

    >>> Arm("candidate", 2).version
    2
    """

    name: str
    version: int


class Policy(Protocol):
    """A rule that chooses a version for each request."""

    def choose(self, request: RoutingRequest = ANY_REQUEST) -> Choice:
        """Return the choice for one request."""

    def weights(self) -> dict[tuple[int, str], float]:
        """Return the share of requests that each version and arm gets. Contextual policies assume an empty context."""


def pinned(version: int) -> Choice:
    """Return the choice for a request that names its version and so bypasses the policy."""
    return Choice(version, PINNED, 1.0)


def verification(choice: Choice) -> Choice:
    """Return the same choice for a request that verifies the gateway.

    It is logged under an arm of its own and belongs to no rollout, so that checks do not count there.

    >>> verification(Choice(3, CHAMPION, 1.0)).arm
    'verification'
    """
    return choice._replace(arm=VERIFICATION, rollout_context=None)
