"""The token that protects the gateway's admin API.

A gateway always has a token. It is given with `--token` or the environment variable; otherwise the gateway generates
one and saves it as `{storage_uri}/gateway.token`, readable only by its own user, where the steps that share the storage
find it. The default therefore needs no configuration, but is closed to anyone who can merely reach the port.
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
    """Return the token that a gateway on this machine generated; None if there is none or it is not readable."""
    if not storage.is_local(storage_uri):
        return None
    try:
        with open(_path(storage_uri), encoding="ascii") as file:
            return file.read().strip() or None
    except (FileNotFoundError, PermissionError):
        return None


def find_or_make(storage_uri: str) -> str:
    """Return the token in the storage directory; generate it if it does not exist.

    Raises InvalidSpecError if the storage is remote, because access to a remote file cannot be limited to one user.
    """
    if not storage.is_local(storage_uri):
        raise InvalidSpecError(
            "token",
            None,
            f"it must be given, because the remote storage {storage_uri} cannot store it safely. Use --token or set "
            f"{ENVIRONMENT_VARIABLE}",
        )
    existing = find(storage_uri)
    if existing is not None:
        return existing
    path = _path(storage_uri)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # A unique name and a link: two gateways that start at the same time get the same, complete token.
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
    generated = find(storage_uri)
    if generated is None:
        raise InvalidSpecError("token", path, "the token file must be readable by this user. Use --token instead")
    return generated


def matches(header: str | None, token: str) -> bool:
    """Return whether an Authorization header contains the token; compares in constant time.

    Examples
    --------
    >>> matches("Bearer abc", "abc"), matches("Basic abc", "abc"), matches(None, "abc")
    (True, False, False)
    """
    scheme, _, credentials = (header or "").partition(" ")
    is_equal = hmac.compare_digest(credentials.strip().encode("utf-8", "surrogateescape"), token.encode())
    return is_equal and scheme.lower() == "bearer"


def _path(storage_uri: str) -> str:
    return os.path.join(storage.local_path(storage_uri), _FILE)
