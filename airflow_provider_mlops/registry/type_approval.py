"""Approvals of the types in a model's files, which are kept apart from the files.

Anyone who can write a model's files could also extend a list of types that is stored with them. The step that saves a
model therefore records the types that its user trusts in the storage of the audit trail, together with the digest of
the files. Loading a model with the same digest trusts these types, and no others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import BackendUnavailableError, describe_error

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024


class TypeApproval(BaseModel):
    """The types that the user of a training step trusts in one saved model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str = Field(description="SHA-256 of the file that contains the fitted model.")
    types: tuple[str, ...] = Field(description="Dotted names of the trusted types.")
    run_id: str = Field(description="MLflow run that saved the model.")
    time: datetime = Field(description="Time of the approval, in UTC.")


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def approve(storage_uri: str, path: str | Path, types: Iterable[str], run_id: str) -> TypeApproval:
    """Record that types may be constructed when the model in a file is loaded, and return the approval.

    Raises OSError or the storage's own exception if it cannot be written.
    """
    approval = TypeApproval(digest=digest(path), types=tuple(sorted(types)), run_id=run_id, time=datetime.now(UTC))
    # The same content has the same types, so that a second approval of it changes nothing.
    storage.write_bytes(_uri(storage_uri, approval.digest), approval.model_dump_json(indent=2).encode())
    return approval


def approved_types(storage_uri: str, path: str | Path) -> tuple[str, ...]:
    """Return the types that are approved for the model in a file; none if there is no valid approval.

    Raises BackendUnavailableError if the storage does not respond.
    """
    key = digest(path)
    uri = _uri(storage_uri, key)
    try:
        approval = TypeApproval.model_validate_json(storage.read_bytes(uri))
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        log.warning("Ignored the approval %s, because it is not valid: %s", uri, error)
        return ()
    except Exception as error:
        # Each storage has errors of its own. Without the approval, nothing is known about the types.
        raise BackendUnavailableError("The storage", storage_uri, describe_error(error), "Check it") from error
    return approval.types if approval.digest == key else ()


def _uri(storage_uri: str, key: str) -> str:
    return storage.join(storage_uri, "trusted-types", f"{key}.json")
