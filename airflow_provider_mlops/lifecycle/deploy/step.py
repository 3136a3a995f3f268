"""The step `deploy`: load a model version into the gateway, verify it, and make it the champion.

Because of its order, the step can be killed at any point and tried again: (1) the gateway loads the version and
predicts the input example at the version's own address; (2) the audit entry is created and the alias moves; (3) the
gateway activates the version; (4) the model's address answers with it. Each of these does nothing if it has been done
before.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import (
    BackendUnavailableError,
    MlopsError,
    PromotionConflictError,
    RejectedError,
)
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment, connect_gateway
from airflow_provider_mlops.lifecycle.deploy.spec import DeployResult, DeploySpec
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.deploy.check import ExpectedPredictions
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.serving.client.client import GatewayClient

log = logging.getLogger(__name__)


def deploy(spec: DeploySpec, workspace: Workspace) -> DeployResult:
    """Load, verify, promote, activate and verify again.

    Raises
    ------
    RolloutConflictError
        If a rollout of the model is in progress. With `check_champion=False`, the rollout is ended instead.
    PromotionConflictError
        If the champion is not the expected one.
    RejectedError
        If the endpoint's predictions differ from those of the packaged model.
    InvalidSpecError
        If the version does not exist, or if the gateway refuses the key.
    BackendUnavailableError
        If MLflow or the gateway is unavailable. A retry then completes the deployment.
    """
    from airflow_provider_mlops.lifecycle.deploy.check import expected_predictions, verify
    from airflow_provider_mlops.lifecycle.deploy.expected_champion import expected_version
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import end_rollout, refuse_during_rollout, wait_for_end
    from airflow_provider_mlops.registry import models

    started = time.monotonic()
    registry = workspace.registry()
    model = models.get(registry, spec.model.name, spec.model.version)
    earlier = _already_champion(registry, model)
    if earlier is None and spec.check_champion:
        refuse_during_rollout(workspace, model.name)
    expected_champion = expected_version(registry, model, spec) if earlier is None else earlier.from_version
    with connect_gateway(workspace, spec.verify_timeout) as gateway:
        gateway.load(model.name, model.version, timeout=spec.verify_timeout)
        expected = expected_predictions(registry, model, allow_pickle=spec.allow_pickle)
        verify(gateway, model, expected, version=model.version)
        log.info(
            "Loaded %s into the gateway at %s and verified it on %s in %.1f s",
            model,
            workspace.gateway_url,
            pluralize(expected.rows, "row"),
            time.monotonic() - started,
        )
        entry = earlier or _promote(spec, workspace, registry, model, expected_champion)
        if end_rollout(workspace, model.name, model.version, f"{workspace.task.key} deployed version {model.version}"):
            wait_for_end(gateway, model.name)
        _go_live(workspace, registry, gateway, model, expected, entry)
    deployment = Deployment.of(entry, workspace.gateway_url)
    log.info("Deployed %s in %.1f s to %s", model, time.monotonic() - started, deployment.endpoint_url)
    return DeployResult(deployment=deployment, model=model)


def _already_champion(registry: Registry, model: ModelVersion) -> AuditEntry | None:
    """Return the audit entry of an earlier try, or an earlier deployment, that made the version champion, if any."""
    from airflow_provider_mlops.registry import audit
    from airflow_provider_mlops.registry.aliases import settle_aliases

    entry = audit.last_move(registry, model.name)
    if entry is None or entry.to_version != model.version:
        return None
    log.info("%s is already the champion (audit entry %d); updating the gateway only", model, entry.sequence)
    settle_aliases(registry, model.name)
    return entry


def _promote(
    spec: DeploySpec, workspace: Workspace, registry: Registry, model: ModelVersion, expected: int | None
) -> AuditEntry:
    from airflow_provider_mlops.registry import promotion

    return promotion.promote(
        registry,
        model,
        expected=expected,
        by=workspace.task,
        reason=spec.reason or f"deployed by {workspace.task.key}",
        check=spec.check_champion,
    )


def _go_live(
    workspace: Workspace,
    registry: Registry,
    gateway: GatewayClient,
    model: ModelVersion,
    expected: ExpectedPredictions,
    entry: AuditEntry,
) -> None:
    """Let the version answer the model's traffic and verify that it does; undo the promotion if it does not.

    If the gateway is only unavailable, nothing is undone: the decision was right, and a retry completes it.
    """
    from airflow_provider_mlops.lifecycle.deploy.check import verify

    try:
        gateway.activate(model.name, model.version, champion=True)
        verify(gateway, model, expected.first_row(), version=None)
    except BackendUnavailableError:
        log.warning("%s is champion, but the gateway is unavailable. A retry completes the deployment", model)
        raise
    except MlopsError as error:
        outcome = _undo(workspace, registry, gateway, entry, str(error))
        reason = str(error).removeprefix(f"Rejected {model}: ").rstrip(".")
        raise RejectedError(f"Rejected {model}: {reason}. {outcome}.") from error


def _undo(workspace: Workspace, registry: Registry, gateway: GatewayClient, entry: AuditEntry, why: str) -> str:
    """Make the champion before the entry champion again, or none. Returns the outcome in a sentence."""
    from airflow_provider_mlops.registry import audit, promotion

    before = entry.from_version
    if entry.by.key != workspace.task.key:
        return (
            f"The alias was not moved back, because {entry.by.key} had already made this version the "
            "champion. Roll back if it should not be the champion"
        )
    latest = audit.last_move(registry, entry.model_name)
    if latest is None or latest.sequence != entry.sequence:
        return _MOVED
    reason = f"deployment failed: {why}"[:1000]
    try:
        if before is None:
            promotion.withdraw(registry, entry, by=workspace.task, reason=reason)
        else:
            promotion.rollback(
                registry,
                entry.model_name,
                to_version=before,
                expected=entry.to_version,
                by=workspace.task,
                reason=reason,
            )
    except PromotionConflictError:
        return _MOVED
    try:
        if before is not None:
            gateway.activate(entry.model_name, before, champion=True)
        elif entry.to_version is not None:
            gateway.deactivate(entry.model_name, entry.to_version)
    except MlopsError as error:
        log.warning("Could not notify the gateway (%s). It will pick up the alias at its next poll", error)
    if before is None:
        return "The model had no champion before, and has none now. Correct the cause and run the task again"
    return f"Version {before} is the champion again"


_MOVED = "The alias was not moved back, because someone has moved it in the meantime"


STEP = Step("deploy", DeploySpec, DeployResult, deploy, extras=("train",))
