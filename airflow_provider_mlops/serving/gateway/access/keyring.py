"""The keys that a gateway accepts: from the key file, which is read again when it changes, or one key of its own."""

from __future__ import annotations

import hmac
import logging
import os

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.client.credentials import KEY_VARIABLE
from airflow_provider_mlops.serving.gateway.access import key_file, local_key
from airflow_provider_mlops.serving.gateway.access.keys import RIGHTS, Client, digest, key_id

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""Seconds between checks of the key file."""


class Keyring:
    """The keys of one gateway process.

    Parameters
    ----------
    path
        The key file; None if there is none.
    own
        A key with all rights, and the name of its client; None if there is none.

    Examples
    --------
    >>> keyring = Keyring(None, ("local", "mlops_secret"))
    >>> keyring.find(b"mlops_secret").name, keyring.find(b"wrong")
    ('local', None)
    """

    def __init__(self, path: str | None, own: tuple[str, str] | None) -> None:
        self._path = path
        self._own: dict[bytes, tuple[bytes, Client]] = {}
        if own is not None:
            name, key = own
            hashed = digest(key.encode())
            self._own[key_id(hashed)] = (hashed, Client(name, frozenset(RIGHTS)))
        self._stamp: tuple[int, ...] | None = None
        self._keys = self._own
        self.problem: str | None = None
        if path is not None:
            self._stamp, self._keys = _stamp(path), self._own | self._read(path)

    def find(self, key: bytes) -> Client | None:
        """Return the client that has a key; None if there is none.

        The table is searched by the beginning of the hash, which is not secret; the rest is compared in constant time.
        """
        hashed = digest(key)
        found = self._keys.get(key_id(hashed))
        return found[1] if found is not None and hmac.compare_digest(found[0], hashed) else None

    def refresh(self) -> None:
        """Read the key file again if it has changed. If it is not valid, the last valid keys stay in use."""
        if self._path is None:
            return
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            keys = self._own | self._read(self._path)
        except (InvalidSpecError, OSError) as error:
            problem = f"the key file cannot be used, and the keys read before stay valid: {str(error).rstrip('.')}"
            if problem != self.problem:
                log.error("%s%s. Repair the file", problem[0].upper(), problem[1:])
            self.problem = problem
            return
        self._stamp, self._keys, self.problem = stamp, keys, None
        log.info("Read the key file %s again: %s", self._path, pluralize(len(keys), "key"))

    @staticmethod
    def _read(path: str) -> dict[bytes, tuple[bytes, Client]]:
        found = {}
        for name, stored in key_file.read(path).clients.items():
            client = stored.client(name)
            for key in stored.keys:
                hashed = bytes.fromhex(key.sha256)
                found[key_id(hashed)] = (hashed, client)
        return found


def open_keyring(path: str | None, storage_uri: str) -> Keyring:
    """Return the keyring with the key file and the key in the environment, or else with the gateway's local key.

    Raises InvalidSpecError if a key file cannot be used or has no keys, or if no key can be made.
    """
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if path is None and not given:
        return Keyring(None, ("local", local_key.find_or_make(storage_uri)))
    if path is not None and not key_file.read(path).clients:
        raise InvalidSpecError(key_file.FILE_FIELD, path, "it has no keys. Make one with `airflow-mlops keys create`")
    return Keyring(path, ("environment", given) if given else None)


def are_given(path: str | None) -> bool:
    """Return whether an operator has given keys, as a file or in the environment."""
    return path is not None or bool(os.environ.get(KEY_VARIABLE, "").strip())


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced, behind a symbolic link too."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
