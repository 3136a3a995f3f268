"""Moves the aliases `champion`, `challenger` and `previous`. If two tasks promote at once, exactly one succeeds.

The audit entry is written first and decides; the aliases follow. If a process dies between the two, the aliases lag
behind the trail. The next process, most likely the retry of the same task, moves them before it does anything else.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from airflow_provider_mlops.errors import InvalidSpecError, PromotionConflictError
from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.aliases import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    format_version,
    set_alias,
    settle_aliases,
)
from airflow_provider_mlops.registry.audit import AuditEntry
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.author import Author
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_EVALUATE_AGAIN = "Evaluate and validate the version against the new champion, then deploy again."
_CHECK_TRAIL = "Check the audit trail, and try again if the change is still needed."


def champion(registry: Registry, name: str) -> ModelVersion | None:
    """Return the champion, or None. The audit trail decides, since the alias may lag behind it after a crash."""
    newest = audit.last(registry, name)
    if newest is None:
        return models.find(registry, name, CHAMPION)
    return None if newest.to_version is None else models.find(registry, name, newest.to_version)


def set_challenger(registry: Registry, model: ModelVersion) -> None:
    """Point the alias `challenger` at a version. Raises InvalidSpecError if the version does not exist."""
    models.get(registry, model.name, model.version)
    set_alias(registry, model.name, CHALLENGER, model.version)
    log.info("Set the alias challenger of %s to version %d", model.name, model.version)


def promote(
    registry: Registry,
    model: ModelVersion,
    *,
    expected: int | None,
    by: Author,
    reason: str,
    check: bool = True,
    rollout_id: str | None = None,
) -> AuditEntry:
    """Make a version the champion, and the champion before it `previous`.

    Parameters
    ----------
    registry
        Registry of the model.
    model
        Version to promote.
    expected
        Champion that the version was compared with; None if there was none.
    by
        Task or person that promotes. A retry of it for the same version completes the promotion and writes no second
        entry.
    reason
        Reason for the audit trail.
    check
        Whether to require `expected`. False promotes regardless of the current champion.
    rollout_id
        Id of the rollout that made the decision.

    Returns
    -------
    AuditEntry
        Entry of the promotion.

    Raises
    ------
    PromotionConflictError
        The champion is not the expected one, or another task changed it at the same time.
    InvalidSpecError
        There is no such version.
    """
    models.get(registry, model.name, model.version)
    newest, moved = settle_aliases(registry, model.name), audit.last_move(registry, model.name)
    if moved is not None and moved.action == "promote" and _is_same(moved, by, model.version):
        log.info("Kept %s as champion: an earlier try of this task promoted it", model)
        return moved
    current = _current(registry, model.name, newest)
    if check and current != expected:
        compared = f"Version {model.version} of {model.name} was compared with {format_version(expected)}, but"
        raise _conflict(compared, current, newest, _EVALUATE_AGAIN)
    entry = AuditEntry(
        sequence=audit.next_sequence(newest),
        action="promote",
        model_name=model.name,
        from_version=current,
        to_version=model.version,
        previous_version=_previous(newest, current, model.version),
        by=by,
        reason=reason,
        rollout_id=rollout_id,
    )
    return _move(registry, entry)


def rollback(
    registry: Registry,
    name: str,
    *,
    to_version: int | None = None,
    expected: int | None = None,
    by: Author,
    reason: str,
) -> AuditEntry:
    """Make the version `previous`, or another one, the champion again.

    Parameters
    ----------
    registry
        Registry of the model.
    name
        Name of the model.
    to_version
        Version to go back to; by default `previous`.
    expected
        Champion to roll back; None for the current one.
    by
        Task that rolls back. A retry of it completes the rollback and does not roll back a second time.
    reason
        Reason for the audit trail.

    Returns
    -------
    AuditEntry
        Entry of the rollback.

    Raises
    ------
    InvalidSpecError
        There is no version to go back to.
    PromotionConflictError
        The champion is not the expected one, or another task changed it at the same time.
    """
    newest, moved = settle_aliases(registry, name), audit.last_move(registry, name)
    done = moved is not None and moved.action == "rollback" and moved.by.key == by.key
    if moved is not None and done and to_version in (None, moved.to_version):
        log.info("Kept %s at version %d: an earlier try of this task rolled it back", name, moved.to_version)
        return moved
    current = _current(registry, name, newest)
    if expected is not None and current != expected:
        wanted = f"Could not roll back version {expected} of {name}, because"
        raise _conflict(wanted, current, newest, _CHECK_TRAIL)
    target = to_version
    if target is None:
        target = models.aliases(registry, name).get(PREVIOUS)
    if target is None:
        raise InvalidSpecError(
            "to_version", None, f"{name} has no previous champion to go back to. Set to_version to a version"
        )
    models.get(registry, name, target)
    if target == current:
        raise InvalidSpecError(
            "to_version", target, f"version {target} of {name} is already the champion. Set to_version to another one"
        )
    entry = AuditEntry(
        sequence=audit.next_sequence(newest),
        action="rollback",
        model_name=name,
        from_version=current,
        to_version=target,
        previous_version=current,
        by=by,
        reason=reason,
    )
    return _move(registry, entry)


def withdraw(registry: Registry, entry: AuditEntry, *, by: Author, reason: str) -> AuditEntry:
    """Undo a promotion before which there was no champion, so that there is none again.

    `entry` is the entry of the promotion. It must be the newest entry of the trail; otherwise PromotionConflictError is
    raised.
    """
    withdrawal = AuditEntry(
        sequence=audit.next_sequence(entry),
        action="withdraw",
        model_name=entry.model_name,
        from_version=entry.to_version,
        to_version=None,
        # A rollback must not return to a version that was withdrawn.
        previous_version=None,
        by=by,
        reason=reason,
    )
    return _move(registry, withdrawal)


def keep(
    registry: Registry, name: str, *, candidates: tuple[int, ...], by: Author, reason: str, rollout_id: str
) -> AuditEntry:
    """Record that a rollout left the champion in place. Only the first call for a rollout writes an entry."""
    return _record(registry, name, "keep", candidates=candidates, by=by, reason=reason, rollout_id=rollout_id)


def record_pause(
    registry: Registry,
    name: str,
    action: Literal["pause", "resume"],
    *,
    candidates: tuple[int, ...],
    by: Author,
    reason: str,
    rollout_id: str,
) -> AuditEntry:
    """Record that a person paused or resumed a rollout."""
    return _record(registry, name, action, candidates=candidates, by=by, reason=reason, rollout_id=rollout_id)


def _record(
    registry: Registry,
    name: str,
    action: Literal["keep", "pause", "resume"],
    *,
    candidates: tuple[int, ...],
    by: Author,
    reason: str,
    rollout_id: str,
) -> AuditEntry:
    """Append an entry that leaves the champion in place. If the rollout has ended, returns the entry that ended it."""
    while True:
        newest = settle_aliases(registry, name)
        end = audit.of_rollout(registry, name, rollout_id)
        if end is not None:
            return end
        current = _current(registry, name, newest)
        entry = AuditEntry(
            sequence=audit.next_sequence(newest),
            action=action,
            model_name=name,
            from_version=current,
            to_version=current,
            previous_version=newest.previous_version if newest else models.aliases(registry, name).get(PREVIOUS),
            by=by,
            reason=reason,
            candidates=candidates,
            rollout_id=rollout_id,
        )
        try:
            return audit.append(registry, entry)
        except FileExistsError:
            continue


def _move(registry: Registry, entry: AuditEntry) -> AuditEntry:
    """Append an entry that moves the champion, and move the aliases."""
    try:
        audit.append(registry, entry)
    except FileExistsError:
        return _lose(registry, entry)
    settle_aliases(registry, entry.model_name)
    log.info(
        "Changed the champion of %s from %s to %s (audit entry %d)",
        entry.model_name,
        format_version(entry.from_version),
        format_version(entry.to_version),
        entry.sequence,
    )
    return entry


def _lose(registry: Registry, entry: AuditEntry) -> AuditEntry:
    """Handle the loss of a sequence number to another writer.

    If the winner left the champion in place, the entry is appended after it; if the winner did the same for the same
    task, its entry is returned. Otherwise raises PromotionConflictError.
    """
    winner = audit.last(registry, entry.model_name)
    if winner is not None and not winner.moves_champion and winner.to_version == entry.from_version:
        later = {"sequence": audit.next_sequence(winner), "time": datetime.now(UTC)}
        return _move(registry, entry.model_copy(update=later))
    if winner is not None and winner.action == entry.action and _is_same(winner, entry.by, entry.to_version):
        settle_aliases(registry, entry.model_name)
        return winner
    new, old = format_version(entry.to_version), format_version(entry.from_version)
    wanted = f"Could not change the champion of {entry.model_name} from {old} to {new}, because"
    hint = _EVALUATE_AGAIN if entry.action == "promote" else _CHECK_TRAIL
    raise _conflict(wanted, winner.to_version if winner else None, winner, hint)


def _current(registry: Registry, name: str, newest: AuditEntry | None) -> int | None:
    if newest is not None:
        return newest.to_version
    return models.aliases(registry, name).get(CHAMPION)


def _previous(newest: AuditEntry | None, current: int | None, target: int) -> int | None:
    if current != target:
        return current
    return newest.previous_version if newest else None


def _is_same(entry: AuditEntry, by: Author, version: int | None) -> bool:
    return entry.by.key == by.key and entry.to_version == version


def _conflict(wanted: str, current: int | None, winner: AuditEntry | None, hint: str) -> PromotionConflictError:
    origin = "" if winner is None else f" (set by {winner.by.key} at {winner.time:%Y-%m-%d %H:%M:%S} UTC)"
    return PromotionConflictError(f"{wanted} the champion is {format_version(current)}{origin}. {hint}")
