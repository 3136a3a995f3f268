"""Keys: how they are made, what they allow, and how they are stored.

A key is 256 random bits, of which only the SHA-256 hash is stored. A slow hash such as bcrypt protects passwords, which
people choose and attackers guess. It is impossible to guess 256 random bits, so that a fast hash is as safe, and it
costs each request a microsecond instead of a tenth of a second.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Right = Literal["prediction", "feedback", "monitoring", "administration"]
RIGHTS: tuple[Right, ...] = get_args(Right)

Amount = Literal["requests", "rows", "bytes", "labels"]
AMOUNTS: tuple[Amount, ...] = get_args(Amount)
"""What can be limited, each per second."""

PREFIX = "mlops_"
"""Beginning of every key that is made here, by which scanners of code and logs recognize one."""
_ID_BYTES = 6


@dataclass(frozen=True)
class Client:
    """A named client of the gateway.

    Parameters
    ----------
    name
        Name, under which its requests are counted.
    rights
        What it may do.
    models
        Models for which the rights hold; None for all.
    limits
        Largest amounts per second, which take the place of the gateway's general limits.

    Examples
    --------
    >>> web = Client("web", frozenset({"prediction"}), models=frozenset({"churn"}))
    >>> web.may("prediction", "churn"), web.may("prediction", "fraud"), web.may("feedback", "churn")
    (True, False, False)
    """

    name: str
    rights: frozenset[Right]
    models: frozenset[str] | None = None
    limits: Mapping[Amount, float] = field(default_factory=dict)

    def has(self, right: Right | None) -> bool:
        """Return whether the client has a right. Everyone has None; administrators of all models have `monitoring`."""
        monitors = "administration" in self.rights and self.models is None
        return right is None or right in self.rights or (right == "monitoring" and monitors)

    def covers(self, model: str | None) -> bool:
        """Return whether the client's rights hold for a model."""
        return model is None or self.models is None or model in self.models

    def may(self, right: Right | None, model: str | None = None) -> bool:
        """Return whether the client has a right, for a model if one is given."""
        return self.has(right) and self.covers(model)


def new_key() -> str:
    """Return a new key.

    >>> new_key().startswith("mlops_"), len(new_key())
    (True, 49)
    """
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> bytes:
    """Return the hash of a key, as it is stored."""
    return hashlib.sha256(key).digest()


def key_id(digest_: bytes) -> bytes:
    """Return the part of a hash that names the key. It is not secret."""
    return digest_[:_ID_BYTES]
