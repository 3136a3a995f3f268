"""What deploying and rolling back directly mean for a rollout of the model that is under way."""

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

_PATIENCE_SECONDS = 10.0

log = logging.getLogger(__name__)


def refuse_during_rollout(workspace: Workspace, name: str) -> None:
    """Raise RolloutConflictError if a rollout of the model is under way: its versions share the traffic."""
    with contextlib.closing(workspace.rollout_store()) as store:
        store.join(name, workspace.task)


def end_rollout(workspace: Workspace, name: str, version: int, reason: str) -> bool:
    """End what is under way, since another version is champion now. Returns whether there was something to end.

    The task of the rollout finds that at its next look.

    :param version: the champion.
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
        log.warning("Rollout %s of %s is %s: %s", ended.id, name, ended.state.status, ended.state.reason)
    return True


def await_end(gateway: GatewayClient, name: str) -> None:
    """Return when the gateway routes by no rollout of the model any more, which it sees a moment after its end."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while gateway.model(name).get("rollout") is not None and time.monotonic() < until:
        time.sleep(0.05)


def take_back(workspace: Workspace, name: str, reason: str) -> AuditEntry | None:
    """Give all traffic back to the champion, beside which a rollout is under way. Returns the audit entry.

    None if no rollout is under way and no earlier try of the task has taken the last one back. Raises BackendUnavailableError.
    """
    from airflow_provider_mlops.registry import promotion

    with contextlib.closing(workspace.rollout_store()) as store:
        found = next(iter(store.of_model(name, limit=1)), None)
        if found is None:
            return None
        if found.state.is_in_progress:
            found = store.change(
                found.id,
                lambda seen: (
                    transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), workspace.task.key, reason)
                    if seen.state.is_in_progress
                    else None
                ),
            )
        mine = (
            state.status == "rolled_back" and state.changed_by == workspace.task.key
            for state in store.history(found.id)
        )
        if not any(mine):
            return None
    return promotion.keep(
        workspace.registry(), name, candidates=found.plan.candidates, by=workspace.task, reason=reason,
        rollout_id=found.id,
    )  # fmt: skip
