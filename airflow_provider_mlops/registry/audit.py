"""The audit trail: who moved a model's aliases, when, from which version to which, and why.

An entry is a file that is created once and never changed: `{storage}/audit/{model}/{sequence:08d}.json`.
Since only one writer can create the file of a sequence number, the trail also decides which of
two concurrent promotions wins. MLflow's aliases, which have no compare-and-set, follow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.lineage import TaskIdentity

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

Action = Literal["promote", "rollback", "withdraw", "keep"]


class AuditEntry(BaseModel):
    """One move of a model's champion, or the decision of a rollout to keep it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    sequence: int = Field(description="The entry's number in the model's trail, from 1.")
    action: Action = Field(description="`promote`, `rollback`, `withdraw`, or `keep`: a rollout has left the champion.")
    model_name: str = Field(description="The registered model.")
    from_version: int | None = Field(description="The champion before; null if there was none.")
    to_version: int | None = Field(description="The champion after; null for `withdraw`.")
    previous_version: int | None = Field(description="Where the alias `previous` points afterwards.")
    candidates: tuple[int, ...] = Field(default=(), description="Of `keep`: the versions that were tried.")
    rollout_id: str | None = Field(default=None, description="The rollout that decided so.")
    by: TaskIdentity = Field(description="The task that did it.")
    reason: str = Field(description="Why, in the words of whoever did it.")
    time: datetime = Field(description="When, in UTC.")


def entries(registry: Registry, model_name: str) -> list[AuditEntry]:
    """The whole trail of a model, oldest first."""
    return [_read(registry, model_name, sequence) for sequence in _sequences(registry, model_name)]


def last(registry: Registry, model_name: str) -> AuditEntry | None:
    """The newest entry, or None if the model was never promoted."""
    return next(newest_first(registry, model_name), None)


def last_move(registry: Registry, model_name: str) -> AuditEntry | None:
    """The newest entry that is no `keep`: what a retry must know, to tell whether it has moved the champion already."""
    return next((entry for entry in newest_first(registry, model_name) if entry.action != "keep"), None)


def of_rollout(registry: Registry, model_name: str, rollout_id: str) -> AuditEntry | None:
    """The entry with which a rollout ended, or None."""
    return next((entry for entry in newest_first(registry, model_name) if entry.rollout_id == rollout_id), None)


def newest_first(registry: Registry, model_name: str) -> Iterator[AuditEntry]:
    """The trail from its end; entries are read as they are asked for."""
    for sequence in reversed(_sequences(registry, model_name)):
        yield _read(registry, model_name, sequence)


def append(
    registry: Registry,
    after: AuditEntry | None,
    *,
    action: Action,
    model_name: str,
    from_version: int | None,
    to_version: int | None,
    previous_version: int | None,
    by: TaskIdentity,
    reason: str,
    candidates: tuple[int, ...] = (),
    rollout_id: str | None = None,
) -> AuditEntry:
    """Write the entry that follows `after`. Raises FileExistsError if somebody else has written it in the meantime."""
    entry = AuditEntry(
        sequence=1 if after is None else after.sequence + 1,
        action=action,
        model_name=model_name,
        from_version=from_version,
        to_version=to_version,
        previous_version=previous_version,
        by=by,
        reason=reason,
        candidates=candidates,
        rollout_id=rollout_id,
        time=datetime.now(UTC),
    )
    storage.create(_uri(registry, model_name, entry.sequence), entry.model_dump_json(indent=2).encode())
    return entry


def _read(registry: Registry, model_name: str, sequence: int) -> AuditEntry:
    return AuditEntry.model_validate_json(storage.read_bytes(_uri(registry, model_name, sequence)))


def _sequences(registry: Registry, model_name: str) -> list[int]:
    matches = (re.fullmatch(r"(\d{8})\.json", name) for name in storage.names(_directory(registry, model_name)))
    return sorted(int(match.group(1)) for match in matches if match)


def _uri(registry: Registry, model_name: str, sequence: int) -> str:
    return storage.join(_directory(registry, model_name), f"{sequence:08d}.json")


def _directory(registry: Registry, model_name: str) -> str:
    return storage.join(registry.storage_uri, "audit", quote(model_name, safe=" "))
