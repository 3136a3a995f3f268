"""Which version of a model answers a request.

A policy is small and pure: it chooses an arm from what it is given, and says with which
probability it did, so that what another policy would have earned can be estimated from the log.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

CHAMPION = "champion"
CANDIDATE = "candidate"
SHADOW = "shadow"
PINNED = "pinned"
VERIFICATION = "verification"


class Choice(NamedTuple):
    """The version that answers, the arm it stands for, and the probability with which the policy chose it.

    :ivar marks: what the log's record of the answer holds besides, where the choice belongs to a rollout.
    """

    version: int
    arm: str
    propensity: float
    marks: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """What a policy may know of a request.

    :ivar key: who asks, where the rollout is sticky by it; None if the request does not say.
    :ivar context: the declared features of the request, for policies that learn from them.
    :ivar random: gives a number from 0 to below 1, each of them as likely as any other.
    """

    key: str | None = None
    context: Mapping[str, Any] | None = None
    random: Callable[[], float] = random.random


ANYBODY = RoutingRequest()
"""A request of which nothing is known."""


@dataclass(frozen=True)
class Arm:
    """A version that a policy may choose, and what it is called."""

    name: str
    version: int


class Policy(Protocol):
    """Chooses a version for each request."""

    def choose(self, request: RoutingRequest = ANYBODY) -> Choice:
        """The choice for one request."""

    def weights(self) -> dict[tuple[int, str], float]:
        """The share of the requests that each version and arm gets; where it depends on them, of one without any."""


def pinned(version: int) -> Choice:
    """The choice where the request names the version, past any policy."""
    return Choice(version, PINNED, 1.0)


def verification(choice: Choice) -> Choice:
    """The same choice for a request that checks the gateway: what the routing chose, logged under an arm of its own.

    It belongs to no rollout, so that checks do not count there.

    >>> verification(Choice(3, CHAMPION, 1.0)).arm
    'verification'
    """
    return choice._replace(arm=VERIFICATION, marks=None)
