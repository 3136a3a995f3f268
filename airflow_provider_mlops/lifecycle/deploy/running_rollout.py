"""A rollout in progress of a model that is deployed or rolled back directly."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.client.client import GatewayClient

_TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


def refuse_during_rollout(workspace: Workspace, name: str) -> None:
    """Raise RolloutConflictError if a rollout of the model is in progress, because its versions share the traffic."""
    with contextlib.closing(workspace.rollout_store()) as store:
        store.join(name, workspace.task)


def end_rollout(workspace: Workspace, name: str, version: int, reason: str) -> bool:
    """End the model's rollout, if any, because another version is champion now. Returns whether there was one.

    The rollout's task notices that at its next check.

    Parameters
    ----------
    version
        The current champion.
    """
    with contextlib.closing(workspace.rollout_store()) as store:
        current = store.current(name)
        if current is None:
            return False
        ended = store.change(
            current.id,
            lambda seen: (
                transitions.superseded(seen.state, version, datetime.now(UTC), workspace.task.key, reason)
                if seen.state.blocks_new_rollout
                else None
            ),
        )
        log.warning("Rollout %s of %s is now %s: %s", ended.id, name, ended.state.status, ended.state.reason)
    return True


def wait_for_end(gateway: GatewayClient, name: str) -> None:
    """Wait until the gateway no longer routes by a rollout of the model, which it notices shortly after the end."""
    until = time.monotonic() + _TIMEOUT_SECONDS
    while gateway.model(name).get("rollout") is not None and time.monotonic() < until:
        time.sleep(0.05)


def roll_back_rollout(workspace: Workspace, name: str, reason: str) -> AuditEntry | None:
    """Roll back the rollout of a model that is in progress, and return the audit entry.

    None if no rollout is in progress and no earlier try of the task rolled back the latest one. Raises
    BackendUnavailableError.
    """
    from airflow_provider_mlops.registry import promotion

    with contextlib.closing(workspace.rollout_store()) as store:
        latest = next(iter(store.of_model(name, limit=1)), None)
        if latest is None:
            return None
        if latest.state.is_in_progress:
            latest = store.change(
                latest.id,
                lambda seen: (
                    transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), workspace.task.key, reason)
                    if seen.state.is_in_progress
                    else None
                ),
            )
        mine = (
            state.status == "rolled_back" and state.changed_by == workspace.task.key
            for state in store.history(latest.id)
        )
        if not any(mine):
            return None
    return promotion.keep(
        workspace.registry(),
        name,
        candidates=latest.plan.candidates,
        by=workspace.task,
        reason=reason,
        rollout_id=latest.id,
    )
