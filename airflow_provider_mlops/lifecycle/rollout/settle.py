"""The end of a rollout: audit trail, alias and gateway are brought to what was decided, once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, PromotionConflictError
from airflow_provider_mlops.lifecycle.deploy.deployment import connect_gateway
from airflow_provider_mlops.lifecycle.rollout.look import moved_champion
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.rollout.spec import RolloutSpec
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def settle(spec: RolloutSpec, workspace: Workspace, store: RolloutStore, rollout: Rollout) -> AuditEntry:
    """Take over the end of a rollout. Returns the audit entry of the decision, the same one however often it is called.

    Raises PromotionConflictError if another version has become champion, which then stays; InvalidSpecError if the
    version to promote is there no more; BackendUnavailableError.
    """
    from airflow_provider_mlops.registry import audit, promotion

    registry, state = workspace.registry(), rollout.state
    if state.settled:
        # By an earlier try, which died before it could tell. Whatever has become of the model since is no longer its.
        entry = audit.of_rollout(registry, rollout.model, rollout.id)
        if entry is None:
            raise _overtaken(rollout)
        log.info("An earlier try of this task has settled the rollout (audit entry %d)", entry.sequence)
        return entry
    if state.status == "ended" and moved_champion(registry, rollout)[0]:
        _settled(workspace, store, rollout)
        raise _overtaken(rollout)
    if state.status != "promoted":
        entry = promotion.keep(
            registry, rollout.model, candidates=rollout.plan.candidates, by=workspace.task,
            reason=_reason(spec, rollout), rollout_id=rollout.id,
        )  # fmt: skip
        log.info("%s: the champion stays version %s (audit entry %d)", rollout.model, entry.to_version, entry.sequence)
    else:
        entry = _promote(spec, workspace, store, rollout)
    _settled(workspace, store, rollout)
    return entry


def _settled(workspace: Workspace, store: RolloutStore, rollout: Rollout) -> None:
    store.change(
        rollout.id,
        lambda seen: None if seen.state.settled else transitions.settled(seen.state, datetime.now(UTC), workspace.task),
    )


def _promote(spec: RolloutSpec, workspace: Workspace, store: RolloutStore, rollout: Rollout) -> AuditEntry:
    from airflow_provider_mlops.registry import models, promotion

    registry, version = workspace.registry(), rollout.state.version
    assert version is not None
    try:
        model = models.get(registry, rollout.model, version)
        entry = promotion.promote(
            registry, model, expected=rollout.plan.champion, by=workspace.task, reason=_reason(spec, rollout),
            rollout_id=rollout.id,
        )  # fmt: skip
    except (PromotionConflictError, InvalidSpecError) as error:
        # The version may have been deleted meanwhile: then the champion stays, and others are not kept waiting for it.
        champion = promotion.champion(registry, rollout.model)
        current, reason = (None if champion is None else champion.version), str(error)
        store.change(
            rollout.id,
            lambda seen: transitions.superseded(seen.state, current, datetime.now(UTC), workspace.task.key, reason),
        )
        _settled(workspace, store, rollout)
        raise
    try:
        with connect_gateway(workspace, spec.verify_timeout) as gateway:
            gateway.activate(model.name, model.version, champion=True)
    except MlopsError as error:
        log.warning("%s is champion. The gateway does not know yet (%s): it follows the alias by itself", model, error)
    return entry


def _overtaken(rollout: Rollout) -> PromotionConflictError:
    return PromotionConflictError(
        f"rollout {rollout.id} of {rollout.model} compares with version {rollout.plan.champion}, and was ended: "
        f"{rollout.state.reason}. Evaluate and validate against the champion, then roll out again"
    )


def _reason(spec: RolloutSpec, rollout: Rollout) -> str:
    state = rollout.state
    who = "" if state.changed_by == rollout.started_by.key else f"{state.changed_by}: "
    return ". ".join(part for part in (spec.reason, f"{who}{state.reason}") if part)[:1000]
