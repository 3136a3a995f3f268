"""Which version of a model answers a request.

A policy is small and pure: it chooses an arm from what it is given, and says with which
probability it did, so that what another policy would have earned can be estimated from the log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

CHAMPION = "champion"
PINNED = "pinned"
VERIFICATION = "verification"


@dataclass(frozen=True)
class Choice:
    """The version that answers, the arm it stands for, and the probability with which the policy chose it."""

    version: int
    arm: str
    propensity: float


class Policy(Protocol):
    """Chooses a version for each request."""

    def choose(self) -> Choice:
        """The choice for one request."""

    def weights(self) -> dict[tuple[int, str], float]:
        """The share of the requests that each version and arm gets."""


@dataclass(frozen=True)
class Direct:
    """All traffic goes to one version."""

    version: int

    def choose(self) -> Choice:
        """Always the same version.

        >>> Direct(3).choose()
        Choice(version=3, arm='champion', propensity=1.0)
        """
        return Choice(self.version, CHAMPION, 1.0)

    def weights(self) -> dict[tuple[int, str], float]:
        """All to one.

        >>> Direct(3).weights()
        {(3, 'champion'): 1.0}
        """
        return {(self.version, CHAMPION): 1.0}


def pinned(version: int) -> Choice:
    """The choice where the request names the version, past any policy."""
    return Choice(version, PINNED, 1.0)


def verification(choice: Choice) -> Choice:
    """The same choice for a request that checks the gateway: what the routing chose, logged under an arm of its own.

    >>> verification(Direct(3).choose())
    Choice(version=3, arm='verification', propensity=1.0)
    """
    return replace(choice, arm=VERIFICATION)
