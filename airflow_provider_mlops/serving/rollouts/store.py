"""The rollout store: the rollouts and their evidence, shared by all gateways and the DAG."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from airflow_provider_mlops.data.state_directory import state_path
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, RolloutConflictError
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan, RolloutState, step_text
from airflow_provider_mlops.serving.rollouts.store_engine import StoreEngine
from airflow_provider_mlops.serving.rollouts.tables import (
    ARM_STATISTICS,
    CHANGES,
    HISTORY,
    ROLLOUTS,
    ROLLOUTS_CHANGED,
    STATISTICS_CHANGED,
)

log = logging.getLogger(__name__)


class StaleRolloutError(MlopsError):
    """Someone else has changed the rollout since it was read: read it and decide again."""


def default_url(storage_uri: str) -> str:
    """Return the URL of the default store: SQLite under the storage URI.

    With remote storage, the store is a file in the user's state directory, which only gateways and tasks on this
    machine can share. If they run on several machines, configure a PostgreSQL database instead.

    >>> default_url("/data/mlops")
    'sqlite:////data/mlops/rollouts.db'
    """
    return f"sqlite:///{state_path(storage_uri, 'rollouts.db')}"


class RolloutStore:
    """The rollouts, their history and their statistics.

    Every method raises BackendUnavailableError while the database is unavailable.

    Parameters
    ----------
    url
        SQLAlchemy URL of a SQLite or PostgreSQL database; see `default_url`. The store connects on first use.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = RolloutStore(default_url(directory))
    ...     store.of_model("churn")
    ...     store.close()
    []
    """

    def __init__(self, url: str) -> None:
        self.engine = StoreEngine(url)

    def start(self, model: str, plan: RolloutPlan, by: TaskIdentity, now: datetime | None = None) -> Rollout:
        """Start a rollout, or join the one that another try of the same task started.

        A try joins a rollout that is settled only if an earlier try since the task was last cleared settled it (and
        died before it could report that). After the task has been cleared, a new rollout starts.

        Raises RolloutConflictError if another rollout of the model is in progress.
        """
        moment = now or datetime.now(UTC)
        with self.engine.writing() as connection:
            joined = _joined(connection, model, by)
            if joined is not None:
                if joined.plan != plan:
                    log.warning(
                        "Rollout %s of %s keeps the plan that it started with, although the task's fields have changed",
                        joined.id,
                        model,
                    )
                return joined
            state = transitions.started(plan, moment, by.key)
            rollout = Rollout(secrets.token_hex(8), model, by, plan, state, revision=1)
            connection.execute(
                insert(ROLLOUTS).values(
                    id=rollout.id,
                    number=1 + (connection.scalar(select(func.max(ROLLOUTS.c.number))) or 0),
                    model=model,
                    active_model=model,
                    task_key=by.key,
                    task=by.model_dump_json(),
                    plan=plan.model_dump_json(),
                    state=state.model_dump_json(),
                    revision=rollout.revision,
                    started_at=moment.isoformat(),
                    attended_at=moment.isoformat(),
                    attended_by=by.key,
                )
            )
            self._add_to_history(connection, rollout)
        log.info("Started rollout %s of %s: %s", rollout.id, model, plan.strategy.kind)
        return rollout

    def join(self, model: str, by: TaskIdentity) -> Rollout | None:
        """Return the rollout that `start` would join; None if it would start one. Raises as `start` does."""
        with self.engine.reading() as connection:
            return _joined(connection, model, by)

    def get(self, rollout_id: str) -> Rollout:
        """Return a rollout as it is now. Raises InvalidSpecError if there is no rollout with that id."""
        rollout = self.find(rollout_id)
        if rollout is None:
            hint = f"the rollout store {self.engine.address} has no rollout with this id. Check the id and the store"
            raise InvalidSpecError("rollout", rollout_id, hint)
        return rollout

    def find(self, rollout_id: str) -> Rollout | None:
        """Return a rollout as it is now; None if there is no rollout with that id."""
        return next(iter(self._rollouts(_SELECT.where(ROLLOUTS.c.id == rollout_id))), None)

    def current(self, model: str) -> Rollout | None:
        """Return the rollout that blocks new rollouts of a model; None if there is none."""
        return next(iter(self._rollouts(_SELECT.where(ROLLOUTS.c.active_model == model))), None)

    def of_model(self, model: str, limit: int = 100) -> list[Rollout]:
        """Return the rollouts of a model, newest first."""
        return self._rollouts(
            _SELECT.where(ROLLOUTS.c.model == model).order_by(ROLLOUTS.c.started_at.desc()).limit(limit)
        )

    def all_active(self) -> list[Rollout]:
        """Return all rollouts that gateways must follow. Those that this release cannot read are logged and skipped."""
        query = _SELECT.where(ROLLOUTS.c.active_model.is_not(None)).order_by(ROLLOUTS.c.model)
        with self.engine.reading() as connection:
            rows = connection.execute(query).all()
        rollouts = []
        for row in rows:
            try:
                rollouts.append(_rollout(row))
            except ValidationError as error:
                log.error(
                    "This gateway does not follow rollout %s of %s, because this release cannot read it (%s). End the "
                    "rollout with the release that started it",
                    row.id,
                    row.model,
                    error,
                )
        return rollouts

    def compare_and_set(self, seen: Rollout, state: RolloutState) -> Rollout:
        """Write a new state if the rollout has not changed since it was seen. Raises StaleRolloutError if it has."""
        changed = Rollout(seen.id, seen.model, seen.started_by, seen.plan, state, seen.revision + 1)
        with self.engine.writing() as connection:
            result = connection.execute(
                update(ROLLOUTS)
                .where(ROLLOUTS.c.id == seen.id, ROLLOUTS.c.revision == seen.revision)
                .values(
                    state=state.model_dump_json(),
                    revision=changed.revision,
                    active_model=seen.model if state.blocks_new_rollout else None,
                    over_at=None if state.is_in_progress else state.changed_at.isoformat(),
                )
            )
            if result.rowcount != 1:
                raise StaleRolloutError(f"Rollout {seen.id} of {seen.model} has changed since it was read.")
            self._add_to_history(connection, changed)
        if state.settled:
            # The decision, with its reason, was logged when it was made.
            log.debug("Rollout %s of %s is settled", seen.id, seen.model)
        else:
            log.info(
                "Rollout %s of %s is now %s at %s: %s",
                seen.id,
                seen.model,
                state.status_text,
                step_text(seen.plan, state.step) if state.is_in_progress else f"step {state.step + 1}",
                state.reason,
            )
        return changed

    def change(self, rollout_id: str, next_state: Callable[[Rollout], RolloutState | None]) -> Rollout:
        """Write the state that `next_state` returns for the current rollout; None leaves the rollout as it is.

        If someone else changes the rollout at the same time, `next_state` is called again.
        """
        while True:
            seen = self.get(rollout_id)
            state = next_state(seen)
            if state is None:
                return seen
            try:
                return self.compare_and_set(seen, state)
            except StaleRolloutError:
                continue

    def history(self, rollout_id: str) -> list[RolloutState]:
        """Return all states that a rollout has had, oldest first."""
        query = select(HISTORY.c.state).where(HISTORY.c.rollout == rollout_id).order_by(HISTORY.c.revision)
        with self.engine.reading() as connection:
            return [RolloutState.model_validate_json(text) for text in connection.scalars(query)]

    def statistics(self, rollout_id: str) -> dict[tuple[int, str], ArmStatistics]:
        """Return the statistics of a rollout by step and arm."""
        query = select(ARM_STATISTICS.c.step, ARM_STATISTICS.c.arm, ARM_STATISTICS.c.statistics)
        with self.engine.reading() as connection:
            rows = connection.execute(query.where(ARM_STATISTICS.c.rollout == rollout_id)).all()
        return {(row.step, row.arm): ArmStatistics.from_json(row.statistics) for row in rows}

    def changes(self) -> tuple[int, int]:
        """Return the number of changes of rollouts and of statistics so far. The query is cheap enough for polling."""
        with self.engine.reading() as connection:
            counts = {row.name: row.total for row in connection.execute(select(CHANGES.c.name, CHANGES.c.total))}
        return counts[ROLLOUTS_CHANGED], counts[STATISTICS_CHANGED]

    def close(self) -> None:
        """Close all connections."""
        self.engine.close()

    def _rollouts(self, query: Select[Any]) -> list[Rollout]:
        with self.engine.reading() as connection:
            return [_rollout(row) for row in connection.execute(query)]

    def _add_to_history(self, connection: Connection, rollout: Rollout) -> None:
        state = rollout.state.model_dump_json()
        connection.execute(insert(HISTORY).values(rollout=rollout.id, revision=rollout.revision, state=state))
        increment(connection, ROLLOUTS_CHANGED)


def increment(connection: Connection, name: str) -> None:
    """Count a change, so that pollers notice it once the transaction is committed."""
    connection.execute(update(CHANGES).where(CHANGES.c.name == name).values(total=CHANGES.c.total + 1))


_SELECT: Select[Any] = select(
    ROLLOUTS.c.id, ROLLOUTS.c.model, ROLLOUTS.c.task, ROLLOUTS.c.plan, ROLLOUTS.c.state, ROLLOUTS.c.revision
)


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(
        row.id,
        row.model,
        TaskIdentity.model_validate_json(row.task),
        RolloutPlan.model_validate_json(row.plan),
        RolloutState.model_validate_json(row.state),
        row.revision,
    )


def _joined(connection: Connection, model: str, by: TaskIdentity) -> Rollout | None:
    # The rollout in progress comes first. If the clock was set back, or differs between machines, an earlier rollout of
    # the task may seem newer.
    active = connection.execute(_SELECT.where(ROLLOUTS.c.active_model == model)).first()
    current = None if active is None else _rollout(active)
    if current is not None and current.started_by.key == by.key:
        return current
    latest = connection.execute(
        _SELECT.where(ROLLOUTS.c.model == model, ROLLOUTS.c.task_key == by.key)
        .order_by(ROLLOUTS.c.started_at.desc())
        .limit(1)
    ).first()
    if latest is not None and _continues(own := _rollout(latest), by):
        return own
    if current is not None:
        raise _conflict(current)
    return None


def _continues(own: Rollout, by: TaskIdentity) -> bool:
    """Return whether a try continues a rollout that its task started.

    A run that is deleted and created again counts its tries from 1 again. What a person has settled, no try has noticed
    yet.
    """
    noticed_in = own.state.settled_in_try
    return not own.state.settled or noticed_in == 0 or by.first_try <= noticed_in < by.try_number


def _conflict(current: Rollout) -> RolloutConflictError:
    state, task = current.state, current.started_by
    return RolloutConflictError(
        f"Another rollout of {current.model} is in progress: {current.id}, started by {task.key} (owner {task.owner}) "
        f"at {state.started_at:%Y-%m-%d %H:%M:%S} UTC, {state.status_text} at step {state.step + 1}. Wait until it is "
        "over, or roll it back."
    )
