"""The token that guards the gateway's admin API.

There always is one. It is given to the gateway (`--token`, or the environment variable), or else the gateway makes one
and keeps it in `{storage_uri}/gateway.token`, readable by its own user only, where the steps that share the storage
find it: the embedded default works without configuration and is still closed to whoever merely reaches the port.
"""

from __future__ import annotations

import hmac
import os
import secrets

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError

ENVIRONMENT_VARIABLE = "AIRFLOW_MLOPS_GATEWAY_TOKEN"

_FILE = "gateway.token"


def find(storage_uri: str) -> str | None:
    """The token that a gateway on this machine made for itself; None if there is none or it may not be read."""
    if not storage.is_local(storage_uri):
        return None
    try:
        with open(_path(storage_uri), encoding="ascii") as file:
            return file.read().strip() or None
    except (FileNotFoundError, PermissionError):
        return None


def find_or_make(storage_uri: str) -> str:
    """The token in the storage directory, which is made if it is not there.

    Raises InvalidSpecError if the storage is remote, where a file could not be kept to one user.
    """
    if not storage.is_local(storage_uri):
        raise InvalidSpecError(
            "token", None, f"storage at {storage_uri} cannot keep one: give --token or set {ENVIRONMENT_VARIABLE}"
        )
    found = find(storage_uri)
    if found is not None:
        return found
    path = _path(storage_uri)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # A name of its own and a link: of two gateways that start at once, both end up with the same whole token.
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_urlsafe(32).encode() + b"\n")
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.close(file)
        os.unlink(temporary)
    made = find(storage_uri)
    if made is None:
        raise InvalidSpecError("token", path, "the file with the gateway's token cannot be read: give --token")
    return made


def matches(header: str | None, token: str) -> bool:
    """Whether an Authorization header carries the token, compared in constant time."""
    scheme, _, given = (header or "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    return right and scheme.lower() == "bearer"


def _path(storage_uri: str) -> str:
    return os.path.join(storage.local_path(storage_uri), _FILE)
