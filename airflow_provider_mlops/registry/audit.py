"""The audit trail: who moved a model's aliases, when, from which version to which, and why.

An entry is a file that is created once and never changed: `{storage}/audit/{model}/{sequence:08d}.json`. Only one
writer can create the file of a sequence number, so the trail also decides which of two concurrent promotions wins.
MLflow's aliases, which have no compare-and-set, follow the trail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.registry.author import Author

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

Action = Literal["promote", "rollback", "withdraw", "keep", "pause", "resume"]

_MOVES: tuple[Action, ...] = ("promote", "rollback", "withdraw")
_ENDS_OF_ROLLOUTS: tuple[Action, ...] = ("promote", "keep")


class AuditEntry(BaseModel):
    """One change of a model's champion, or a decision about a rollout that left it in place."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    sequence: int = Field(description="Number of the entry in the model's trail, from 1.")
    action: Action = Field(
        description="Kind of the entry. `promote`: a version became the champion; `rollback`: an earlier version "
        "became the champion again; `withdraw`: a deployment failed, and there was no earlier champion to return to; "
        "`keep`: a rollout left the champion in place; `pause` and `resume`: a person paused or resumed a rollout."
    )
    model_name: str = Field(description="Name of the registered model.")
    from_version: int | None = Field(description="Champion before the change; null if there was none.")
    to_version: int | None = Field(description="Champion after the change; null for `withdraw`.")
    previous_version: int | None = Field(description="Version that the alias `previous` points to after the change.")
    candidates: tuple[int, ...] = Field(
        default=(),
        description="Versions that the rollout tried; empty unless the action is `keep`, `pause` or `resume`.",
    )
    rollout_id: str | None = Field(default=None, description="ID of the rollout that the decision is about, if any.")
    by: Author = Field(description="Task that made the change, or the person who made it at the command line.")
    reason: str = Field(description="Reason that the author gave.")
    time: datetime = Field(
        default_factory=lambda: datetime.now(UTC), description="Time at which the entry was made, in UTC."
    )

    @property
    def moves_champion(self) -> bool:
        """Whether the entry is a change of the champion."""
        return self.action in _MOVES


def entries(registry: Registry, model_name: str) -> list[AuditEntry]:
    """Return the whole trail of a model, oldest entry first."""
    return [_read(registry, model_name, sequence) for sequence in _sequences(registry, model_name)]


def last(registry: Registry, model_name: str) -> AuditEntry | None:
    """Return the newest entry, or None if the model was never promoted."""
    return next(newest_first(registry, model_name), None)


def last_move(registry: Registry, model_name: str) -> AuditEntry | None:
    """Return the newest change of the champion, which tells a retry whether it has moved the champion already."""
    return next((entry for entry in newest_first(registry, model_name) if entry.moves_champion), None)


def of_rollout(registry: Registry, model_name: str, rollout_id: str) -> AuditEntry | None:
    """Return the entry that a rollout ended with, or None."""
    return next(
        (
            entry
            for entry in newest_first(registry, model_name)
            if entry.rollout_id == rollout_id and entry.action in _ENDS_OF_ROLLOUTS
        ),
        None,
    )


def newest_first(registry: Registry, model_name: str) -> Iterator[AuditEntry]:
    """Yield the trail from its end. Each entry is read when it is requested."""
    for sequence in reversed(_sequences(registry, model_name)):
        yield _read(registry, model_name, sequence)


def next_sequence(entry: AuditEntry | None) -> int:
    """Return the sequence number after `entry`, or the first one if there is no entry."""
    return 1 if entry is None else entry.sequence + 1


def append(registry: Registry, entry: AuditEntry) -> AuditEntry:
    """Write an entry. Raises FileExistsError if another writer has used its sequence number."""
    storage.create(_uri(registry, entry.model_name, entry.sequence), entry.model_dump_json(indent=2).encode())
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
