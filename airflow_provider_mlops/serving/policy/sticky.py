"""Sticky keys: numbers that look random and are always the same for the same key."""

from __future__ import annotations

import hashlib
import struct

MAX_ARMS = 8
"""The maximum number of arms of a sticky rollout: one hash gives this many numbers."""

_UNIT = 2.0**53


class StickyHash:
    """Uniform numbers on [0, 1) that depend only on the salt and the key, in every process and every release.

    The hash is a keyed BLAKE2b. Someone who knows the keys but not the salt cannot choose an arm, and two rollouts with
    different salts divide the same keys independently of each other.

    Parameters
    ----------
    salt
        Id of the rollout.
    count
        Amount of numbers per key, at most 8.

    Examples
    --------
    >>> StickyHash("rollout-1", 2).uniforms("ada") == StickyHash("rollout-1", 2).uniforms("ada")
    True
    >>> StickyHash("rollout-1").uniforms("ada") == StickyHash("rollout-2").uniforms("ada")
    False
    """

    def __init__(self, salt: str, count: int = 1) -> None:
        self._keyed = hashlib.blake2b(key=salt.encode()[:64], digest_size=8 * count)
        self._format = struct.Struct(f">{count}Q")

    def uniforms(self, key: str) -> list[float]:
        """Return the numbers for a key."""
        return [(integer >> 11) / _UNIT for integer in self._format.unpack(self._digest(key))]

    def hexadecimal(self, key: str) -> str:
        """Return the key as it is logged: the same text for the same key within a rollout.

        The key cannot be computed from it. Anyone who knows the rollout's id can check a key that they guess.

        >>> len(StickyHash("rollout-1").hexadecimal("ada"))
        16
        """
        return self._digest(key)[:8].hex()

    def _digest(self, key: str) -> bytes:
        digest = self._keyed.copy()
        digest.update(key.encode("utf-8", "surrogatepass"))
        return digest.digest()
