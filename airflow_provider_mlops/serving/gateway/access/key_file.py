"""The key file: the clients of a gateway as JSON, each with its rights and the hashes of its keys.

A client has several keys while a key is exchanged: the new one is added, the client starts to use it, and the old one
is revoked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mlops.data.names import list_names, suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.access.keys import RIGHTS, Amount, Client, Right, digest, key_id, new_key

FILE_FIELD = "keys"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class StoredKey(BaseModel):
    """A key as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: _Sha256 = Field(description="SHA-256 hash of the key, in hexadecimal digits.")
    created: datetime | None = Field(default=None, description="When the key was made.")

    @property
    def id(self) -> str:
        """Name of the key: the first digits of its hash."""
        return key_id(bytes.fromhex(self.sha256)).hex()


class StoredClient(BaseModel):
    """A client as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rights: tuple[Right, ...] = Field(min_length=1, description="Rights of the client.")
    models: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Models for which the rights hold; null for all models."
    )
    limits: dict[Amount, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="Largest amounts per second, instead of the gateway's general limits."
    )
    keys: tuple[StoredKey, ...] = Field(min_length=1, description="Keys that are valid.")

    def client(self, name: str) -> Client:
        """Return the client as the gateway uses it."""
        models = None if self.models is None else frozenset(self.models)
        return Client(name, frozenset(self.rights), models, dict(self.limits))


class KeyFile(BaseModel):
    """The content of a key file.

    Examples
    --------
    >>> file, key = KeyFile().with_key("web", ("prediction",), ("churn",))
    >>> file.clients["web"].rights, key in file.model_dump_json()
    (('prediction',), False)
    >>> file.without("web").clients
    {}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: dict[str, StoredClient] = Field(default_factory=dict, description="Clients by name.")

    def with_key(
        self, name: str, rights: tuple[Right, ...] = (), models: tuple[str, ...] | None = None
    ) -> tuple[KeyFile, str]:
        """Return the file with one more key of a client, and the key.

        Raises InvalidSpecError if a new client has no rights, or a known one other rights than stored.
        """
        if _NAME.fullmatch(name) is None:
            hint = "it must be 1 to 64 letters, digits, dots, hyphens or underscores, and begin with a letter or digit"
            raise InvalidSpecError("client", name, hint)
        known = self.clients.get(name)
        if known is None:
            _check_rights(rights, models)
            rights = tuple(dict.fromkeys(rights))
        else:
            if (rights and set(rights) != set(known.rights)) or (models and set(models) != set(known.models or ())):
                scope = "all models" if known.models is None else list_names(known.models)
                hint = (
                    f"this client already exists, with the rights {list_names(known.rights)} for {scope}. Omit rights "
                    "and models to add a key with these, or choose another name"
                )
                raise InvalidSpecError("client", name, hint)
            rights, models = known.rights, known.models
        key = new_key()
        stored = StoredKey(sha256=digest(key.encode()).hex(), created=datetime.now(UTC).replace(microsecond=0))
        limits = {} if known is None else known.limits
        client = StoredClient(
            rights=rights, models=models, limits=limits, keys=(*(() if known is None else known.keys), stored)
        )
        return KeyFile(clients={**self.clients, name: client}), key

    def without(self, name: str, id_: str | None = None) -> KeyFile:
        """Return the file without one key of a client, or without the client. Raises InvalidSpecError."""
        if name not in self.clients:
            raise InvalidSpecError("client", name, f"the key file has no such client. {suggest(name, self.clients)}")
        client = self.clients[name]
        left = tuple(key for key in client.keys if key.id != id_) if id_ else ()
        if id_ and len(left) == len(client.keys):
            valid = list_names(key.id for key in client.keys)
            raise InvalidSpecError("id", id_, f"the client {name!r} has no such key. Its keys are {valid}")
        others = {other: kept for other, kept in self.clients.items() if other != name}
        return KeyFile(clients={**others, name: client.model_copy(update={"keys": left})} if left else others)


def read(path: str) -> KeyFile:
    """Read a key file. Raises InvalidSpecError if it is missing, invalid, or can be changed by any user."""
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IWOTH:
                raise InvalidSpecError(FILE_FIELD, path, "other users may change this file. Run chmod o-w on it")
            content = file.read()
    except OSError as error:
        hint = f"the key file cannot be read ({error.strerror}). Make one with `airflow-mlops keys create`"
        raise InvalidSpecError(FILE_FIELD, path, hint) from error
    try:
        keys = KeyFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise InvalidSpecError(FILE_FIELD, path, f"the key file is not valid: {place}: {first['msg']}") from None
    for name, client in keys.clients.items():
        if _NAME.fullmatch(name) is None:
            raise InvalidSpecError(FILE_FIELD, path, f"{name!r} is not a valid name of a client")
        try:
            _check_rights(client.rights, client.models)
        except InvalidSpecError as error:
            raise InvalidSpecError(FILE_FIELD, path, f"client {name!r}: {error.hint}") from None
    ids = [key.id for client in keys.clients.values() for key in client.keys]
    if len(set(ids)) < len(ids):
        raise InvalidSpecError(FILE_FIELD, path, "the same key is listed twice. Give each client keys of its own")
    return keys


@contextlib.contextmanager
def changing(path: str) -> Iterator[list[KeyFile]]:
    """Yield a list with the file's content; the last element of the list at the end becomes the new content.

    The file is replaced as a whole, so that a gateway never reads half of it, and changes wait for each other.
    """
    path = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        versions = [read(path) if os.path.exists(path) else KeyFile()]
        yield versions
        _replace(path, json.dumps(versions[-1].model_dump(mode="json", exclude_defaults=True), indent=2) + "\n")
    finally:
        os.close(lock)


def _replace(path: str, content: str) -> None:
    temporary = f"{path}.tmp"
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o600
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> InvalidSpecError:
    hint = f"the key file cannot be written ({error.strerror}) and was not changed. Check its directory and disk"
    return InvalidSpecError(FILE_FIELD, path, hint)


def _check_rights(rights: tuple[Right, ...], models: tuple[str, ...] | None) -> None:
    unknown = [right for right in rights if right not in RIGHTS]
    if unknown or not rights:
        hint = f"it must be one or more of {list_names(RIGHTS)}"
        raise InvalidSpecError("right", unknown[0] if unknown else None, hint)
    if models is not None and "monitoring" in rights:
        # The metrics are those of all models.
        raise InvalidSpecError(
            "model", list(models), "monitoring concerns all models. Give this right to another client"
        )
