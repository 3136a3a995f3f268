"""From who asks to numbers that look random and are always the same."""

from __future__ import annotations

import hashlib
import struct

MOST = 8
"""How many numbers one hash gives, and so how many arms a sticky rollout may have."""

_WHOLE = 2.0**53


class Hash:
    """Numbers from 0 to below 1 that depend on the salt and the key only, in every process and every version.

    A keyed BLAKE2b, so that who knows the keys but not the salt cannot choose an arm, and that two rollouts with
    salts of their own share out the same keys independently of each other.

    >>> Hash("rollout-1", 2).uniforms("ada") == Hash("rollout-1", 2).uniforms("ada")
    True
    >>> Hash("rollout-1").uniforms("ada") == Hash("rollout-2").uniforms("ada")
    False
    """

    def __init__(self, salt: str, count: int = 1) -> None:
        self._begun = hashlib.blake2b(key=salt.encode()[:64], digest_size=8 * count)
        self._format = struct.Struct(f">{count}Q")

    def uniforms(self, key: str) -> list[float]:
        """As many numbers as were asked for."""
        return [(whole >> 11) / _WHOLE for whole in self._format.unpack(self._digest(key))]

    def hexadecimal(self, key: str) -> str:
        """A key as it is logged: the same for the same key within a rollout.

        There is no way back from it, but whoever knows the rollout's id can see whether it is that of a key he guesses.

        >>> len(Hash("rollout-1").hexadecimal("ada"))
        16
        """
        return self._digest(key)[:8].hex()

    def _digest(self, key: str) -> bytes:
        begun = self._begun.copy()
        begun.update(key.encode("utf-8", "surrogatepass"))
        return begun.digest()
