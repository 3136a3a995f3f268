"""The aliases `champion`, `challenger` and `previous` of a registered model, which follow its audit trail."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.audit import AuditEntry

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"


def settle_aliases(registry: Registry, name: str) -> AuditEntry | None:
    """Move the aliases to where the newest audit entry says, and return that entry; None if there is no entry.

    A slow writer may set an alias after a faster one. It then finds a newer entry, and follows that one.
    """
    followed: AuditEntry | None = None
    while (newest := audit.last(registry, name)) != followed:
        if newest is not None:
            _follow(registry, newest)
        followed = newest
    return followed


def set_alias(registry: Registry, name: str, alias: str, version: int) -> None:
    """Point an alias at a version.

    MLflow inserts an alias that does not exist yet, so if two processes do it at once, one of them gets an error. It
    then finds the alias, and moves it.
    """
    from mlflow.exceptions import MlflowException

    try:
        registry.client.set_registered_model_alias(name, alias, str(version))
    except MlflowException:
        if alias not in models.aliases(registry, name):
            raise
        registry.client.set_registered_model_alias(name, alias, str(version))


def format_version(version: int | None) -> str:
    """Return a version, or that there is no champion, as part of a sentence."""
    return "no champion" if version is None else f"version {version}"


def _follow(registry: Registry, entry: AuditEntry) -> None:
    """Set the aliases as the entry says. `challenger` is removed from a version that became the champion."""
    client = registry.client
    aliases = models.aliases(registry, entry.model_name)
    if entry.to_version is not None and models.find(registry, entry.model_name, entry.to_version) is None:
        log.warning(
            "Left the aliases of %s unchanged: version %d of audit entry %d was deleted",
            entry.model_name,
            entry.to_version,
            entry.sequence,
        )
        return
    if aliases.get(CHAMPION) not in (entry.from_version, entry.to_version):
        log.warning(
            "Someone changed the alias champion of %s to %s by hand. Resetting it to %s (audit entry %d)",
            entry.model_name,
            format_version(aliases.get(CHAMPION)),
            format_version(entry.to_version),
            entry.sequence,
        )
    previous = entry.previous_version
    if (
        previous is not None
        and aliases.get(PREVIOUS) != previous
        and models.find(registry, entry.model_name, previous) is not None
    ):
        set_alias(registry, entry.model_name, PREVIOUS, previous)
    if entry.to_version is None:
        if CHAMPION in aliases:
            client.delete_registered_model_alias(entry.model_name, CHAMPION)
    elif aliases.get(CHAMPION) != entry.to_version:
        set_alias(registry, entry.model_name, CHAMPION, entry.to_version)
    if entry.action == "promote" and aliases.get(CHALLENGER) == entry.to_version:
        client.delete_registered_model_alias(entry.model_name, CHALLENGER)
