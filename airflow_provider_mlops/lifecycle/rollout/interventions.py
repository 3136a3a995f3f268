"""Changes by a person of a rollout that is in progress: pause, resume, roll back and promote.

Each change is a compare-and-set on the rollout store, which the gateways and the rollout's task follow, and an entry of
the audit trail. A promotion settles the rollout as its task would, with the same audit entry and aliases; the task then
finds it settled, and ends as after a promotion of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.live_report import write_report
from airflow_provider_mlops.lifecycle.rollout.look import champion_move
from airflow_provider_mlops.lifecycle.rollout.settle import settle
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.author import Author
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.attendance import attend
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0


class Interventions:
    """Changes of the rollouts in a store by one person.

    Every method takes the id of a rollout and a reason, and returns the audit entry. It raises InvalidSpecError if the
    rollout does not exist or is not in a state for the change, and BackendUnavailableError.

    Parameters
    ----------
    workspace
        Storage and MLflow of the rollouts.
    store
        Rollout store.
    by
        The person.
    """

    def __init__(self, workspace: Workspace, store: RolloutStore, by: Author) -> None:
        self._workspace = workspace
        self._store = store
        self._by = by

    def pause(self, rollout_id: str, reason: str) -> AuditEntry:
        """Keep the weights and decide nothing until `resume`. Hard limits and `unattended_timeout` still hold."""

        def next_state(seen: RolloutState) -> RolloutState:
            if seen.is_paused:
                raise InvalidSpecError("rollout", rollout_id, "it is paused already. Resume it, or roll it back")
            return transitions.paused(seen, datetime.now(UTC), self._by.key, reason)

        return self._hold("pause", self._change(rollout_id, lambda seen: next_state(seen.state)), reason)

    def resume(self, rollout_id: str, reason: str) -> AuditEntry:
        """Let the evidence decide again."""

        def next_state(seen: RolloutState) -> RolloutState:
            if not seen.is_paused:
                raise InvalidSpecError("rollout", rollout_id, f"it is {seen.status_text}, not paused. Pause it first")
            return transitions.resumed(seen, datetime.now(UTC), self._by.key, reason)

        return self._hold("resume", self._change(rollout_id, lambda seen: next_state(seen.state)), reason)

    def roll_back(self, rollout_id: str, reason: str) -> AuditEntry:
        """Send all traffic to the champion. The traffic returns even if the audit trail is unavailable."""
        rollout = self._change(
            rollout_id,
            lambda seen: transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), self._by.key, reason),
        )
        return self._settle(rollout)

    def promote(self, rollout_id: str, reason: str, version: int | None = None) -> AuditEntry:
        """Make a candidate the champion, and send all traffic to it.

        Raises PromotionConflictError if another version becomes the champion at the same time.

        Parameters
        ----------
        version
            The candidate; required only if there are several.
        """
        rollout = self._store.get(rollout_id)
        chosen = _candidate(rollout, version)
        move = champion_move(self._workspace.registry(), rollout)
        if move is not None and rollout.state.is_in_progress:
            raise InvalidSpecError(
                "rollout",
                rollout_id,
                f"it compares with version {rollout.plan.champion}, but {move.reason}. Roll it back, and start a new "
                "rollout",
            )
        rollout = self._change(
            rollout_id,
            lambda seen: transitions.promoted(seen.plan, seen.state, chosen, datetime.now(UTC), self._by.key, reason),
        )
        return self._settle(rollout)

    def _change(self, rollout_id: str, next_state: Callable[[Rollout], RolloutState]) -> Rollout:
        def checked(seen: Rollout) -> RolloutState:
            if not seen.state.is_in_progress:
                raise InvalidSpecError(
                    "rollout",
                    rollout_id,
                    f"it is over: {seen.state.status_text} by {seen.state.changed_by} at "
                    f"{seen.state.changed_at:%Y-%m-%d %H:%M:%S} UTC. Name a rollout that is in progress",
                )
            return next_state(seen)

        return self._store.change(rollout_id, checked)

    def _hold(self, action: Literal["pause", "resume"], rollout: Rollout, reason: str) -> AuditEntry:
        from airflow_provider_mlops.registry import promotion

        # Someone looks after the rollout at this moment, even if its task does not.
        attend(self._store, rollout, self._by.key)
        write_report(self._workspace.storage_uri, self._store, rollout)
        return promotion.record_pause(
            self._workspace.registry(),
            rollout.model,
            action,
            candidates=rollout.plan.candidates,
            by=self._by,
            reason=reason,
            rollout_id=rollout.id,
        )

    def _settle(self, rollout: Rollout) -> AuditEntry:
        entry = settle(self._workspace, self._store, rollout, by=self._by, reason="", timeout=_TIMEOUT_SECONDS)
        write_report(self._workspace.storage_uri, self._store, self._store.get(rollout.id))
        return entry


def _candidate(rollout: Rollout, version: int | None) -> int:
    candidates = rollout.plan.candidates
    if version is None and len(candidates) == 1:
        return candidates[0]
    if version not in candidates:
        raise InvalidSpecError(
            "version",
            version,
            f"it must be a candidate of rollout {rollout.id}. Set --version to {' or '.join(map(str, candidates))}",
        )
    return version
