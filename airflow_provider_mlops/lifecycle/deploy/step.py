"""Bring a model version to the gateway and make it champion, once it was seen to answer as it should.

The order is what makes it safe to be killed at any point and tried again: the gateway loads the version and
answers the input example under the version's own address; the audit entry is created and the alias moves; the gateway
activates the version; the model's own address answers with it. Each of these does nothing when it was done before.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

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
    from airflow_provider_mlops.lifecycle.deploy.check import Expected
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.serving.client.client import GatewayClient

log = logging.getLogger(__name__)


def deploy(spec: DeploySpec, workspace: Workspace) -> DeployResult:
    """Load, verify, promote, activate and verify again.

    Raises RolloutConflictError while a rollout of the model is under way; with `check_champion=False` it is ended
    instead. Raises PromotionConflictError if the champion is not the expected one, RejectedError if the endpoint does
    not answer as the packaged model does, InvalidSpecError if the version is not there or the gateway refuses the
    token, BackendUnavailableError if MLflow or the gateway does not answer; then a retry completes the deployment.
    """
    from airflow_provider_mlops.lifecycle.deploy.check import expected_answer, verify
    from airflow_provider_mlops.lifecycle.deploy.expected_champion import expected_version
    from airflow_provider_mlops.lifecycle.deploy.running_rollout import await_end, end_rollout, refuse_during_rollout
    from airflow_provider_mlops.registry import models

    started = time.monotonic()
    registry = workspace.registry()
    model = models.get(registry, spec.model.name, spec.model.version)
    begun = _begun_before(registry, model)
    if begun is None and spec.check_champion:
        refuse_during_rollout(workspace, model.name)
    expected_champion = expected_version(registry, model, spec) if begun is None else begun.from_version
    with connect_gateway(workspace, spec.verify_timeout) as gateway:
        log.info("Loading %s into the gateway at %s", model, workspace.gateway_url)
        gateway.load(model.name, model.version, timeout=spec.verify_timeout)
        expected = expected_answer(registry, model, allow_pickle=spec.allow_pickle)
        verify(gateway, model, expected, version=model.version)
        log.info("The candidate answers the %d rows of the input example as the packaged model does", expected.rows)
        entry = begun or _promote(spec, workspace, registry, model, expected_champion)
        why = f"{workspace.task.key} has deployed version {model.version}"
        if end_rollout(workspace, model.name, model.version, why):
            await_end(gateway, model.name)
        _go_live(workspace, registry, gateway, model, expected, entry)
    deployment = Deployment.of(entry, workspace.gateway_url)
    log.info("%s answers at %s after %.1f s", model, deployment.endpoint_url, time.monotonic() - started)
    return DeployResult(deployment=deployment, model=model)


def _begun_before(registry: Registry, model: ModelVersion) -> AuditEntry | None:
    """The audit entry by which the version is champion already: by an earlier try, or an earlier deployment of it."""
    from airflow_provider_mlops.registry import audit
    from airflow_provider_mlops.registry.aliases import settle_aliases

    moved = audit.last_move(registry, model.name)
    if moved is None or moved.to_version != model.version:
        return None
    log.info("%s is champion already (audit entry %d): bringing the gateway to it", model, moved.sequence)
    settle_aliases(registry, model.name)
    return moved


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
    expected: Expected,
    entry: AuditEntry,
) -> None:
    """Let the version answer the model's traffic and see that it does; bring the alias back if it does not.

    A gateway that is merely away brings nothing back: the decision was good, and the retry completes it.
    """
    from airflow_provider_mlops.lifecycle.deploy.check import verify

    try:
        gateway.activate(model.name, model.version, champion=True)
        verify(gateway, model, expected.first_row(), version=None)
    except BackendUnavailableError:
        log.warning("%s is champion, but the gateway is away: a retry completes the deployment", model)
        raise
    except MlopsError as error:
        after = _bring_back(workspace, registry, gateway, entry, str(error))
        raise RejectedError(f"{model} was not deployed: {error}. {after}") from error


def _bring_back(workspace: Workspace, registry: Registry, gateway: GatewayClient, entry: AuditEntry, why: str) -> str:
    """Make the champion before the entry champion again, or none. Returns what was done, in a sentence."""
    from airflow_provider_mlops.registry import audit, promotion

    before = entry.from_version
    if entry.by.key != workspace.task.key:
        return f"{entry.by.key} made it champion before, so the alias stays: roll back if it should not"
    moved = audit.last_move(registry, entry.model_name)
    if moved is None or moved.sequence != entry.sequence:
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
        log.warning("The gateway could not be told to go back (%s); it follows the alias by itself", error)
    if before is None:
        return "No version was champion before, and none is now: correct the cause and run the task again"
    return f"The alias is back on version {before}"


_MOVED = "Somebody moved the alias in the meantime, so it stays where it is"


STEP = Step("deploy", DeploySpec, DeployResult, deploy, extras=("train",))
