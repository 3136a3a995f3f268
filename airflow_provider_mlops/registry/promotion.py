"""Moving the aliases `champion`, `challenger` and `previous`, so that of two at once exactly one wins.

The audit entry comes first and decides; the aliases follow. A process that dies between the two
leaves an entry whose aliases lag behind. Whoever comes next, most likely the retry of the same
task, moves them before doing anything else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError, PromotionConflictError
from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.audit import AuditEntry
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    from airflow_provider_mlops.data.lineage import TaskIdentity
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"


def champion(registry: Registry, name: str) -> ModelVersion | None:
    """The version that serves, or None. The audit trail is asked first: the alias may lag behind it after a crash."""
    newest = audit.last(registry, name)
    if newest is None:
        return models.find(registry, name, CHAMPION)
    return None if newest.to_version is None else models.find(registry, name, newest.to_version)


def set_challenger(registry: Registry, model: ModelVersion) -> None:
    """Point the alias `challenger` at a version that was approved. Raises InvalidSpecError if it is not there."""
    models.get(registry, model.name, model.version)
    _point(registry, model.name, CHALLENGER, model.version)
    log.info("The alias challenger of %s points at version %d", model.name, model.version)


def promote(
    registry: Registry,
    model: ModelVersion,
    *,
    expected: int | None,
    by: TaskIdentity,
    reason: str,
    check: bool = True,
    rollout_id: str | None = None,
) -> AuditEntry:
    """Make a version the champion, and the champion before it `previous`.

    :param expected: the champion's version that the model was compared with; None if there was none.
    :param by: the task that promotes. A retry of it for the same version completes what it began and writes no
        second entry.
    :param check: False promotes whoever the champion is.
    :param rollout_id: the rollout that decided so.

    Raises PromotionConflictError if the champion is another one than expected, or becomes one meanwhile;
    InvalidSpecError if there is no such version.
    """
    models.get(registry, model.name, model.version)
    newest, moved = settle(registry, model.name), audit.last_move(registry, model.name)
    if moved is not None and moved.action == "promote" and _is_same(moved, by, model.version):
        log.info("%s is the champion already: an earlier try of this task promoted it", model)
        return moved
    current = _current(registry, model.name, newest)
    if check and current != expected:
        raise _conflict(f"{model} was compared with {_named(expected)}", current, newest, _COMPARE)
    return _move(registry, newest, "promote", model.name, current, model.version, by, reason, rollout_id)


def rollback(
    registry: Registry,
    name: str,
    *,
    to_version: int | None = None,
    expected: int | None = None,
    by: TaskIdentity,
    reason: str,
) -> AuditEntry:
    """Make the version `previous`, or another one, the champion again.

    :param expected: the champion that the caller saw and wants to be rid of; None takes back whichever it is.
    :param by: the task that rolls back. A retry of it completes what it began and does not roll back once more.

    Raises InvalidSpecError if there is nothing to go back to, PromotionConflictError if the champion is another one
    than expected, or somebody promotes at the same time.
    """
    newest, moved = settle(registry, name), audit.last_move(registry, name)
    done = moved is not None and moved.action == "rollback" and moved.by.key == by.key
    if moved is not None and done and to_version in (None, moved.to_version):
        log.info("An earlier try of this task rolled %s back to version %d already", name, moved.to_version)
        return moved
    current = _current(registry, name, newest)
    if expected is not None and current != expected:
        raise _conflict(f"{_named(expected)} of {name} was to be taken back", current, newest, _LOOK)
    target = to_version
    if target is None:
        target = models.aliases(registry, name).get(PREVIOUS)
    if target is None:
        raise InvalidSpecError("to_version", None, f"{name} has no previous champion to go back to: name a version")
    models.get(registry, name, target)
    if target == current:
        raise InvalidSpecError(
            "to_version", target, f"version {target} of {name} is the champion already: name another one"
        )
    return _move(registry, newest, "rollback", name, current, target, by, reason)


def withdraw(registry: Registry, entry: AuditEntry, *, by: TaskIdentity, reason: str) -> AuditEntry:
    """Take back a promotion before which there was no champion, so that there is none again.

    :param entry: the promotion. It must be the newest entry of the trail.

    Raises PromotionConflictError if somebody moved the champion since.
    """
    return _move(registry, entry, "withdraw", entry.model_name, entry.to_version, None, by, reason)


def keep(
    registry: Registry, name: str, *, candidates: tuple[int, ...], by: TaskIdentity, reason: str, rollout_id: str
) -> AuditEntry:
    """Record that a rollout has left the champion, whichever it is. Once for a rollout, however often it is called."""
    while True:
        newest = settle(registry, name)
        kept = audit.of_rollout(registry, name, rollout_id)
        if kept is not None:
            return kept
        current = _current(registry, name, newest)
        previous = newest.previous_version if newest else models.aliases(registry, name).get(PREVIOUS)
        try:
            return audit.append(
                registry, newest, action="keep", model_name=name, from_version=current, to_version=current,
                previous_version=previous, by=by, reason=reason, candidates=candidates, rollout_id=rollout_id,
            )  # fmt: skip
        except FileExistsError:
            continue


def settle(registry: Registry, name: str) -> AuditEntry | None:
    """Move the aliases to where the newest audit entry says they are, and return that entry; None without any.

    A writer that was slow may set an alias after a quicker one. It then finds a newer entry, and follows that.
    """
    followed: AuditEntry | None = None
    while (newest := audit.last(registry, name)) != followed:
        if newest is not None:
            _follow(registry, newest)
        followed = newest
    return followed


def _move(
    registry: Registry,
    newest: AuditEntry | None,
    action: audit.Action,
    name: str,
    current: int | None,
    target: int | None,
    by: TaskIdentity,
    reason: str,
    rollout_id: str | None = None,
) -> AuditEntry:
    previous = current if current != target else (newest.previous_version if newest else None)
    if target is None:
        # What was withdrawn is nothing that a rollback should return to.
        previous = None
    try:
        entry = audit.append(
            registry,
            newest,
            action=action,
            model_name=name,
            from_version=current,
            to_version=target,
            previous_version=previous,
            by=by,
            reason=reason,
            rollout_id=rollout_id,
        )
    except FileExistsError:
        winner = audit.last(registry, name)
        if winner is not None and winner.action == "keep" and winner.to_version == current:
            return _move(registry, winner, action, name, current, target, by, reason, rollout_id)
        if winner is not None and winner.action == action and _is_same(winner, by, target):
            settle(registry, name)
            return winner
        what = f"{_named(target)} of {name} was to be the champion in place of {_named(current)}"
        now = winner.to_version if winner else None
        raise _conflict(what, now, winner, _COMPARE if action == "promote" else _LOOK) from None
    settle(registry, name)
    log.info(
        "The champion of %s is %s, and was %s (audit entry %d)", name, *map(_named, (target, current)), entry.sequence
    )
    return entry


def _follow(registry: Registry, entry: AuditEntry) -> None:
    """Set the aliases as the entry says, those that differ. `challenger` leaves a version that became the champion."""
    client = registry.client
    there = models.aliases(registry, entry.model_name)
    if entry.to_version is not None and models.find(registry, entry.model_name, entry.to_version) is None:
        log.warning("Version %d of %s was deleted: its aliases stay", entry.to_version, entry.model_name)
        return
    if there.get(CHAMPION) not in (entry.from_version, entry.to_version):
        log.warning(
            "Somebody moved the champion of %s by hand to %s: setting it back to %s, as audit entry %d says",
            entry.model_name,
            _named(there.get(CHAMPION)),
            _named(entry.to_version),
            entry.sequence,
        )
    previous = entry.previous_version
    if previous is not None and there.get(PREVIOUS) != previous and models.find(registry, entry.model_name, previous):
        _point(registry, entry.model_name, PREVIOUS, previous)
    if entry.to_version is None:
        if CHAMPION in there:
            client.delete_registered_model_alias(entry.model_name, CHAMPION)
    elif there.get(CHAMPION) != entry.to_version:
        _point(registry, entry.model_name, CHAMPION, entry.to_version)
    if entry.action == "promote" and there.get(CHALLENGER) == entry.to_version:
        client.delete_registered_model_alias(entry.model_name, CHALLENGER)


def _point(registry: Registry, name: str, alias: str, version: int) -> None:
    """Let an alias stand at a version.

    MLflow inserts an alias that is not there yet, so that of two processes which do it at once one gets an error. It
    finds the alias there then, and moves it.
    """
    from mlflow.exceptions import MlflowException

    try:
        registry.client.set_registered_model_alias(name, alias, str(version))
    except MlflowException:
        if alias not in models.aliases(registry, name):
            raise
        registry.client.set_registered_model_alias(name, alias, str(version))


def _current(registry: Registry, name: str, newest: AuditEntry | None) -> int | None:
    if newest is not None:
        return newest.to_version
    return models.aliases(registry, name).get(CHAMPION)


def _is_same(entry: AuditEntry, by: TaskIdentity, version: int | None) -> bool:
    return entry.by.key == by.key and entry.to_version == version


_COMPARE = "Evaluate and validate it against the new champion, then deploy again."
_LOOK = "Look at the audit trail, and do it again if it is still needed."


def _conflict(what: str, current: int | None, winner: AuditEntry | None, hint: str) -> PromotionConflictError:
    who = ""
    if winner is not None:
        who = f" It was made so by {winner.by.key} at {winner.time:%Y-%m-%d %H:%M:%S} UTC."
    return PromotionConflictError(f"{what}, but the champion is {_named(current)}.{who} {hint}")


def _named(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"
