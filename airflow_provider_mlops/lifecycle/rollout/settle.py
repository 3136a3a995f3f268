"""The end of a rollout: the decision is applied to the audit trail, the alias and the gateway, exactly once."""

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
    """Apply the decision of a finished rollout, and return its audit entry. Repeated calls return the same entry.

    Raises PromotionConflictError if another version has become the champion, which then stays; InvalidSpecError if the
    version to promote was deleted; BackendUnavailableError.
    """
    from airflow_provider_mlops.registry import audit, promotion

    registry, state = workspace.registry(), rollout.state
    if state.settled:
        # An earlier try did so, and died before it could report it. Later changes of the model do not matter here.
        entry = audit.of_rollout(registry, rollout.model, rollout.id)
        if entry is None:
            raise _superseded(rollout)
        log.info("An earlier try of this task settled rollout %s (audit entry %d)", rollout.id, entry.sequence)
        return entry
    if state.status == "ended" and moved_champion(registry, rollout)[0]:
        _mark_settled(workspace, store, rollout)
        raise _superseded(rollout)
    if state.status != "promoted":
        entry = promotion.keep(
            registry,
            rollout.model,
            candidates=rollout.plan.candidates,
            by=workspace.task,
            reason=_reason(spec, rollout),
            rollout_id=rollout.id,
        )
        log.info(
            "Kept the champion of %s, version %s (audit entry %d)", rollout.model, entry.to_version, entry.sequence
        )
    else:
        entry = _promote(spec, workspace, store, rollout)
    _mark_settled(workspace, store, rollout)
    return entry


def _mark_settled(workspace: Workspace, store: RolloutStore, rollout: Rollout) -> None:
    store.change(
        rollout.id,
        lambda seen: None if seen.state.settled else transitions.settled(seen.state, datetime.now(UTC), workspace.task),
    )


def _promote(spec: RolloutSpec, workspace: Workspace, store: RolloutStore, rollout: Rollout) -> AuditEntry:
    from airflow_provider_mlops.registry import models, promotion

    registry, version = workspace.registry(), rollout.state.version
    if version is None:
        raise ValueError(f"rollout {rollout.id} was promoted without a version")
    try:
        model = models.get(registry, rollout.model, version)
        entry = promotion.promote(
            registry,
            model,
            expected=rollout.plan.champion,
            by=workspace.task,
            reason=_reason(spec, rollout),
            rollout_id=rollout.id,
        )
    except (PromotionConflictError, InvalidSpecError) as error:
        # The version may have been deleted in the meantime. Then the champion stays, and other rollouts may start.
        champion = promotion.champion(registry, rollout.model)
        current, reason = (None if champion is None else champion.version), str(error)
        store.change(
            rollout.id,
            lambda seen: transitions.superseded(seen.state, current, datetime.now(UTC), workspace.task.key, reason),
        )
        _mark_settled(workspace, store, rollout)
        raise
    try:
        with connect_gateway(workspace, spec.verify_timeout) as gateway:
            gateway.activate(model.name, model.version, champion=True)
    except MlopsError as error:
        log.warning(
            "%s is champion. Could not notify the gateway (%s). It will pick up the alias at its next poll",
            model,
            error,
        )
    return entry


def _superseded(rollout: Rollout) -> PromotionConflictError:
    return PromotionConflictError(
        f"Rollout {rollout.id} of {rollout.model} compared its candidate with version {rollout.plan.champion} and was "
        f"ended: {rollout.state.reason}. Evaluate and validate the candidate against the current champion, then roll "
        "it out again."
    )


def _reason(spec: RolloutSpec, rollout: Rollout) -> str:
    state = rollout.state
    author = "" if state.changed_by == rollout.started_by.key else f"{state.changed_by}: "
    return ". ".join(part for part in (spec.reason, f"{author}{state.reason}") if part)[:1000]
