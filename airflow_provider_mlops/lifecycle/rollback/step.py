"""Make the previous champion, or another version, champion again."""

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
    """Append to the audit trail, move the alias, and let the gateway switch.

    A retry of the task completes what it began and does not roll back once more. With the gateway away the alias moves
    all the same: the gateway follows it when it is back. Raises InvalidSpecError if there is nothing to go back to or
    the gateway refuses the token or the version, PromotionConflictError if the champion is another one than expected or
    somebody promotes at the same moment, BackendUnavailableError if MLflow does not answer.
    """
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import take_back
    from airflow_provider_mlops.registry import promotion

    started = time.monotonic()
    registry, reason = workspace.registry(), spec.reason or f"rolled back by {workspace.task.key}"
    if spec.to_version is None and spec.expected_champion is None:
        kept = take_back(workspace, spec.model_name, reason)
        if kept is not None:
            log.info("%s: its rollout is taken back, version %s stays champion", kept.model_name, kept.to_version)
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
    moved = f"{entry.model_name}: version {entry.to_version} is champion in place of version {entry.from_version}"
    if workspace.gateway_url is None:
        log.warning("%s. No gateway is configured: a gateway that serves the model follows the alias by itself", moved)
        return RollbackResult(deployment=deployment)
    try:
        with connect_gateway(workspace, spec.timeout) as gateway:
            gateway.activate(deployment.model_name, deployment.version, champion=True)
    except BackendUnavailableError as error:
        log.warning("%s. The gateway does not know yet (%s): it follows the alias as soon as it is back", moved, error)
    except InvalidSpecError as error:
        raise InvalidSpecError(
            error.field, error.value, f"{error.hint}. The alias has moved already; the gateway follows it by itself"
        ) from error
    else:
        log.info("%s and answers (audit entry %d, %.2f s)", moved, entry.sequence, time.monotonic() - started)
    return RollbackResult(deployment=deployment)


def _end_rollout(workspace: Workspace, entry: AuditEntry) -> None:
    """End a rollout beside the champion that was. A store that is away holds up no rollback."""
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import end_rollout

    assert entry.to_version is not None
    why = f"{workspace.task.key} has rolled back to version {entry.to_version}"
    try:
        end_rollout(workspace, entry.model_name, entry.to_version, why)
    except BackendUnavailableError as error:
        log.warning("Whether a rollout of %s is under way is not known: %s", entry.model_name, error)


STEP = Step("rollback", RollbackSpec, RollbackResult, rollback)
