"""The end of a rollout: the decision is applied to the audit trail, the alias and the gateway, exactly once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, PromotionConflictError
from airflow_provider_mlops.lifecycle.deploy.deployment import connect_gateway
from airflow_provider_mlops.lifecycle.rollout.look import champion_move
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.registry.author import Author
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def settle(
    workspace: Workspace, store: RolloutStore, rollout: Rollout, *, by: Author, reason: str, timeout: float
) -> AuditEntry:
    """Apply the decision of a finished rollout, and return its audit entry. Repeated calls return the same entry.

    The rollout's task does so, and a person who decides at the command line; the second of them finds the entry of
    the first. Raises PromotionConflictError if another version has become the champion, which then stays;
    InvalidSpecError if the version to promote was deleted; BackendUnavailableError.

    Parameters
    ----------
    by
        Author of the audit entry.
    reason
        Reason for the audit trail, in addition to that of the decision.
    timeout
        Maximum time in seconds for a response of the gateway.
    """
    from airflow_provider_mlops.registry import audit, promotion

    registry, state = workspace.registry(), rollout.state
    if state.settled:
        # Someone did so before. Later changes of the model do not matter here.
        entry = audit.of_rollout(registry, rollout.model, rollout.id)
        _mark_settled(store, rollout, by)
        if entry is None:
            raise _superseded(rollout)
        log.info("Rollout %s was already settled by %s (audit entry %d)", rollout.id, entry.by.key, entry.sequence)
        return entry
    if state.status == "ended" and champion_move(registry, rollout) is not None:
        _mark_settled(store, rollout, by)
        raise _superseded(rollout)
    if state.status != "promoted":
        entry = promotion.keep(
            registry,
            rollout.model,
            candidates=rollout.plan.candidates,
            by=by,
            reason=_reason(reason, rollout),
            rollout_id=rollout.id,
        )
        log.info(
            "Kept the champion of %s, version %s (audit entry %d)", rollout.model, entry.to_version, entry.sequence
        )
    else:
        entry = _promote(workspace, store, rollout, by, reason)
        _notify(workspace, entry, timeout)
    _mark_settled(store, rollout, by)
    return entry


def _mark_settled(store: RolloutStore, rollout: Rollout, by: Author) -> None:
    def next_state(seen: Rollout) -> RolloutState | None:
        now, state = datetime.now(UTC), seen.state
        if isinstance(by, TaskIdentity):
            return None if state.settled and state.settled_in_try else transitions.settled(state, now, by)
        return None if state.settled else transitions.settled_by_person(state, now, by.key)

    store.change(rollout.id, next_state)


def _promote(workspace: Workspace, store: RolloutStore, rollout: Rollout, by: Author, reason: str) -> AuditEntry:
    from airflow_provider_mlops.registry import audit, models, promotion
    from airflow_provider_mlops.registry.aliases import settle_aliases

    registry, version = workspace.registry(), rollout.state.version
    if version is None:
        raise ValueError(f"rollout {rollout.id} was promoted without a version")
    try:
        entry = audit.of_rollout(registry, rollout.model, rollout.id) or promotion.promote(
            registry,
            models.get(registry, rollout.model, version),
            expected=rollout.plan.champion,
            by=by,
            reason=_reason(reason, rollout),
            rollout_id=rollout.id,
        )
    except (PromotionConflictError, InvalidSpecError) as error:
        # The task and a person may settle the rollout at the same time, and the other one was faster.
        made = audit.of_rollout(registry, rollout.model, rollout.id)
        if made is None:
            # The version may have been deleted in the meantime. Then the champion stays, and other rollouts may start.
            champion = promotion.champion(registry, rollout.model)
            current, why = (None if champion is None else champion.version), str(error)
            store.change(
                rollout.id,
                lambda seen: transitions.superseded(seen.state, current, datetime.now(UTC), by.key, why),
            )
            _mark_settled(store, rollout, by)
            raise
        entry = made
    # An earlier try may have died between the entry and the alias.
    settle_aliases(registry, rollout.model)
    return entry


def _notify(workspace: Workspace, entry: AuditEntry, timeout: float) -> None:
    """Let the gateway follow the alias now instead of at its next poll."""
    name, version = entry.model_name, entry.to_version
    if workspace.gateway_url is None or version is None:
        log.info("Version %s of %s is champion. The gateways pick up the alias at their next poll", version, name)
        return
    try:
        with connect_gateway(workspace, timeout) as gateway:
            gateway.activate(name, version, champion=True)
    except MlopsError as error:
        log.warning(
            "Version %s of %s is champion. Could not notify the gateway (%s). It will pick up the alias at its next "
            "poll",
            version,
            name,
            error,
        )


def _superseded(rollout: Rollout) -> PromotionConflictError:
    plan, state = rollout.plan, rollout.state
    if state.version in plan.candidates:
        advice = (
            f"Deploy version {state.version} with DeployModelOperator if it should stay the champion; otherwise, the "
            "next deployment follows the audit trail and moves the alias back"
        )
    else:
        advice = "Evaluate and validate the candidate against the current champion, then roll it out again"
    return PromotionConflictError(
        f"Rollout {rollout.id} of {rollout.model} compared its candidate with version {plan.champion} and was ended: "
        f"{state.reason.rstrip('.')}. {advice}."
    )


def _reason(reason: str, rollout: Rollout) -> str:
    state = rollout.state
    author = "" if state.changed_by == rollout.started_by.key else f"{state.changed_by}: "
    return ". ".join(part for part in (reason, f"{author}{state.reason}") if part)[:1000]
