"""The key that a gateway makes for itself if it was given none, with all rights.

It is saved as `{storage_uri}/gateway.key`, readable only by its own user, where the steps that share the storage find
it. The default therefore needs no configuration, but administration is closed to anyone who can merely reach the port.
"""

from __future__ import annotations

import os
import secrets

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.client.credentials import KEY_VARIABLE
from airflow_provider_mlops.serving.gateway.access.keys import new_key

_FILE = "gateway.key"


def find(storage_uri: str) -> str | None:
    """Return the key that a gateway on this machine made; None if there is none or it is not readable."""
    if not storage.is_local(storage_uri):
        return None
    try:
        with open(_path(storage_uri), encoding="ascii") as file:
            return file.read().strip() or None
    except (FileNotFoundError, PermissionError):
        return None


def find_or_make(storage_uri: str) -> str:
    """Return the key in the storage directory; make it if it does not exist.

    Raises InvalidSpecError if the storage is remote, because access to a remote file cannot be limited to one user.
    """
    if not storage.is_local(storage_uri):
        raise InvalidSpecError(
            "keys",
            None,
            f"keys must be given, because the remote storage {storage_uri} cannot store one safely. Use --keys or set "
            f"{KEY_VARIABLE}",
        )
    existing = find(storage_uri)
    if existing is not None:
        return existing
    path = _path(storage_uri)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # A unique name and a link: two gateways that start at the same time get the same, complete key.
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, new_key().encode() + b"\n")
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.close(file)
        os.unlink(temporary)
    made = find(storage_uri)
    if made is None:
        raise InvalidSpecError("keys", path, "the gateway's own key must be readable by this user. Use --keys instead")
    return made


def _path(storage_uri: str) -> str:
    return os.path.join(storage.local_path(storage_uri), _FILE)
