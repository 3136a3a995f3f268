"""The step `rollback`: make the previous champion, or another version, the champion again."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment, connect_gateway
from airflow_provider_mlops.lifecycle.rollback.spec import RollbackResult, RollbackSpec
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry

log = logging.getLogger(__name__)


def rollback(spec: RollbackSpec, workspace: Workspace) -> RollbackResult:
    """Append to the audit trail, move the alias, and switch the gateway.

    A retry of the task completes the rollback and does not roll back further. If the gateway is unavailable, the alias
    still moves, and the gateway follows it when it is back.

    Raises
    ------
    InvalidSpecError
        If there is no version to roll back to, or if the gateway refuses the key or the version.
    PromotionConflictError
        If the champion is not the expected one, or if someone promotes a version at the same time.
    BackendUnavailableError
        If MLflow is unavailable.
    """
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import roll_back_rollout
    from airflow_provider_mlops.registry import promotion

    started = time.monotonic()
    registry, reason = workspace.registry(), spec.reason or f"rolled back by {workspace.task.key}"
    if spec.to_version is None and spec.expected_champion is None:
        kept = roll_back_rollout(workspace, spec.model_name, reason)
        if kept is not None:
            log.info("Rolled back the rollout of %s; version %s stays the champion", kept.model_name, kept.to_version)
            return RollbackResult(deployment=Deployment.of(kept, workspace.gateway_url))
    entry = promotion.rollback(
        registry,
        spec.model_name,
        to_version=spec.to_version,
        expected=spec.expected_champion,
        by=workspace.task,
        reason=reason,
    )
    _end_rollout(workspace, entry)
    deployment = Deployment.of(entry, workspace.gateway_url)
    moved = f"{entry.model_name}: version {entry.to_version} replaced version {entry.from_version} as champion"
    if workspace.gateway_url is None:
        log.warning(
            "%s. No gateway was notified, because none is configured. A running gateway picks up the alias at its "
            "next poll",
            moved,
        )
        return RollbackResult(deployment=deployment)
    try:
        with connect_gateway(workspace, spec.timeout) as gateway:
            gateway.activate(deployment.model_name, deployment.version, champion=True)
    except BackendUnavailableError as error:
        log.warning("%s. Could not notify the gateway (%s). It will pick up the alias when it is back", moved, error)
    except InvalidSpecError as error:
        hint = (
            f"{error.hint.rstrip('.')}. The alias has already moved, and the gateway will pick it up at its next poll"
        )
        raise InvalidSpecError(error.field, error.value, hint) from error
    else:
        elapsed = time.monotonic() - started
        log.info("%s in %.2f s and answers at %s", moved, elapsed, deployment.endpoint_url)
    return RollbackResult(deployment=deployment)


def _end_rollout(workspace: Workspace, entry: AuditEntry) -> None:
    """End a rollout that compares with the replaced champion. An unavailable store does not stop the rollback."""
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import end_rollout

    if entry.to_version is None:
        raise ValueError(f"audit entry {entry.sequence} of {entry.model_name} must be a rollback")
    why = f"{workspace.task.key} rolled back to version {entry.to_version}"
    try:
        end_rollout(workspace, entry.model_name, entry.to_version, why)
    except BackendUnavailableError as error:
        log.warning("Could not end a rollout of %s that may be in progress: %s", entry.model_name, error)


STEP = Step("rollback", RollbackSpec, RollbackResult, rollback)
