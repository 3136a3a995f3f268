"""Where rollouts and what is known of them are kept, for all gateways and the DAG."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.data.state_directory import state_path
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, RolloutConflictError
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan, RolloutState
from airflow_provider_mlops.serving.rollouts.store_engine import StoreEngine
from airflow_provider_mlops.serving.rollouts.tables import (
    ARM_STATISTICS,
    CHANGES,
    DECISIONS,
    HISTORY,
    REWARDS,
    ROLLOUTS,
    ROLLOUTS_CHANGED,
    STATISTICS_CHANGED,
)

log = logging.getLogger(__name__)


class StaleRolloutError(MlopsError):
    """Somebody else has changed the rollout since it was read: read it again and decide again."""


def default_url(storage_uri: str) -> str:
    """The store where none is named: SQLite under the storage URI.

    Next to remote storage it is a file in the user's state directory, which only gateways and tasks of this machine
    share: name a PostgreSQL database where there are more.

    >>> default_url("/data/mlops")
    'sqlite:////data/mlops/rollouts.db'
    """
    return f"sqlite:///{state_path(storage_uri, 'rollouts.db')}"


class RolloutStore:
    """Rollouts, their history and their statistics. Every method raises BackendUnavailableError while the database is away.

    :param url: a SQLAlchemy URL of SQLite or PostgreSQL; see `default_url`. Nothing is connected before the first use.
    """

    def __init__(self, url: str) -> None:
        self.engine = StoreEngine(url)

    def start(self, model: str, plan: RolloutPlan, by: TaskIdentity, now: datetime | None = None) -> Rollout:
        """Begin a rollout, or join the one that another try of the same task began.

        A rollout whose end was settled is joined by the retries of the try that did so, which has died before it could
        tell, and not by tries after the task was cleared: those begin a new one.

        Raises RolloutConflictError if another rollout of the model is under way.
        """
        moment = now or datetime.now(UTC)
        with self.engine.writing() as connection:
            joined = _joined(connection, model, by)
            if joined is not None:
                if joined.plan != plan:
                    log.warning(
                        "Rollout %s of %s goes on as it was begun: its plan has changed since", joined.id, model
                    )
                return joined
            begun = Rollout(secrets.token_hex(8), model, by, plan, transitions.started(plan, moment, by.key), number=1)
            connection.execute(insert(ROLLOUTS).values(
                id=begun.id, model=model, active_model=model, task_key=by.key, task=by.model_dump_json(),
                spec=plan.model_dump_json(), state=begun.state.model_dump_json(), number=1,
                started_at=moment.isoformat(),
            ))  # fmt: skip
            self._remember(connection, begun)
        log.info("Rollout %s of %s begins: %s", begun.id, model, plan.strategy.kind)
        return begun

    def join(self, model: str, by: TaskIdentity) -> Rollout | None:
        """The rollout that `start` would join; None if it would begin one. Raises RolloutConflictError as `start`."""
        with self.engine.reading() as connection:
            return _joined(connection, model, by)

    def get(self, rollout_id: str) -> Rollout:
        """A rollout as it is now. Raises InvalidSpecError if there is none of that id."""
        found = self.find(rollout_id)
        if found is None:
            raise InvalidSpecError("rollout", rollout_id, f"there is no such rollout in {self.engine.address}")
        return found

    def find(self, rollout_id: str) -> Rollout | None:
        """The same, or None."""
        found = self._rollouts(_SELECT.where(ROLLOUTS.c.id == rollout_id))
        return found[0] if found else None

    def current(self, model: str) -> Rollout | None:
        """The rollout that blocks_new_rollout a model, or None."""
        found = self._rollouts(_SELECT.where(ROLLOUTS.c.active_model == model))
        return found[0] if found else None

    def of_model(self, model: str, limit: int = 100) -> list[Rollout]:
        """The rollouts of a model, newest first."""
        return self._rollouts(
            _SELECT.where(ROLLOUTS.c.model == model).order_by(ROLLOUTS.c.started_at.desc()).limit(limit)
        )

    def occupying(self) -> list[Rollout]:
        """All rollouts that gateways have to follow. One that cannot be read keeps them from no other."""
        query = _SELECT.where(ROLLOUTS.c.active_model.is_not(None)).order_by(ROLLOUTS.c.model)
        with self.engine.reading() as connection:
            rows = connection.execute(query).all()
        found = []
        for row in rows:
            try:
                found.append(_rollout(row))
            except ValidationError as error:
                log.error(
                    "Rollout %s of %s is not followed, since this release cannot read it; end it with the release that "
                    "began it: %s", row.id, row.model, error,
                )  # fmt: skip
        return found

    def compare_and_set(self, seen: Rollout, state: RolloutState) -> Rollout:
        """Write a new state, if the rollout is still as it was seen. Raises StaleRolloutError if not."""
        changed = Rollout(seen.id, seen.model, seen.by, seen.plan, state, seen.number + 1)
        with self.engine.writing() as connection:
            done = connection.execute(
                update(ROLLOUTS)
                .where(ROLLOUTS.c.id == seen.id, ROLLOUTS.c.number == seen.number)
                .values(
                    state=state.model_dump_json(),
                    number=changed.number,
                    active_model=seen.model if state.blocks_new_rollout else None,
                    over_at=None if state.is_under_way else state.changed_at.isoformat(),
                )
            )
            if done.rowcount != 1:
                raise StaleRolloutError(f"rollout {seen.id} of {seen.model} has changed since it was read")
            self._remember(connection, changed)
        log.info("Rollout %s of %s is %s at step %d: %s", seen.id, seen.model, state.status, state.step, state.reason)
        return changed

    def change(self, rollout_id: str, next_state: Callable[[Rollout], RolloutState | None]) -> Rollout:
        """Write what `next_state` makes of the rollout as it is, again if somebody is quicker; None leaves it."""
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
        """All states that a rollout has had, oldest first."""
        query = select(HISTORY.c.state).where(HISTORY.c.rollout == rollout_id).order_by(HISTORY.c.number)
        with self.engine.reading() as connection:
            return [RolloutState.model_validate_json(text) for text in connection.scalars(query)]

    def statistics(self, rollout_id: str) -> dict[tuple[int, str], ArmStatistics]:
        """What has been counted, by step and arm."""
        query = select(ARM_STATISTICS.c.step, ARM_STATISTICS.c.arm, ARM_STATISTICS.c.statistics)
        with self.engine.reading() as connection:
            rows = connection.execute(query.where(ARM_STATISTICS.c.rollout == rollout_id)).all()
        return {(row.step, row.arm): ArmStatistics.from_json(row.statistics) for row in rows}

    def changes(self) -> tuple[int, int]:
        """Two numbers that grow with every change of a rollout, and of its statistics: cheap to ask for often."""
        with self.engine.reading() as connection:
            numbers = {row.name: row.number for row in connection.execute(select(CHANGES.c.name, CHANGES.c.number))}
        return numbers[ROLLOUTS_CHANGED], numbers[STATISTICS_CHANGED]

    def forget(self, before: datetime) -> int:
        """Remove decisions and rewards of rollouts that were over by then, and what belongs to none. Returns how many.

        Statistics and history stay, and so does the prediction log. Rewards that come later no longer count.
        """
        over = select(ROLLOUTS.c.id).where(ROLLOUTS.c.over_at < before.astimezone(UTC).isoformat())
        micros = int(before.timestamp() * 1_000_000)
        decided = select(DECISIONS.c.prediction_id)
        with self.engine.writing() as connection:
            gone = connection.execute(delete(DECISIONS).where(DECISIONS.c.rollout.in_(over))).rowcount
            unwanted = REWARDS.c.decision_id.not_in(decided)
            gone += connection.execute(delete(REWARDS).where(unwanted, REWARDS.c.time < micros)).rowcount
        return gone

    def close(self) -> None:
        """Give up all connections."""
        self.engine.close()

    def _rollouts(self, query: Select[Any]) -> list[Rollout]:
        with self.engine.reading() as connection:
            return [_rollout(row) for row in connection.execute(query)]

    def _remember(self, connection: Connection, rollout: Rollout) -> None:
        state = rollout.state.model_dump_json()
        connection.execute(insert(HISTORY).values(rollout=rollout.id, number=rollout.number, state=state))
        bump(connection, ROLLOUTS_CHANGED)


def bump(connection: Connection, name: str) -> None:
    """Let pollers see that something has changed, when the transaction is committed."""
    connection.execute(update(CHANGES).where(CHANGES.c.name == name).values(number=CHANGES.c.number + 1))


_SELECT: Select[Any] = select(
    ROLLOUTS.c.id, ROLLOUTS.c.model, ROLLOUTS.c.task, ROLLOUTS.c.spec, ROLLOUTS.c.state, ROLLOUTS.c.number
)


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(
        row.id,
        row.model,
        TaskIdentity.model_validate_json(row.task),
        RolloutPlan.model_validate_json(row.spec),
        RolloutState.model_validate_json(row.state),
        row.number,
    )


def _joined(connection: Connection, model: str, by: TaskIdentity) -> Rollout | None:
    # First the one that is under way: by a clock that was set back since, or another machine's, an earlier one of the
    # task may seem newer.
    active = connection.execute(_SELECT.where(ROLLOUTS.c.active_model == model)).first()
    current = None if active is None else _rollout(active)
    if current is not None and current.by.key == by.key:
        return current
    latest = connection.execute(
        _SELECT.where(ROLLOUTS.c.model == model, ROLLOUTS.c.task_key == by.key)
        .order_by(ROLLOUTS.c.started_at.desc())
        .limit(1)
    ).first()
    if latest is not None and _is_joined(own := _rollout(latest), by):
        return own
    if current is not None:
        raise _conflict(current)
    return None


def _is_joined(own: Rollout, by: TaskIdentity) -> bool:
    """Whether a task goes on with a rollout that it has begun. A run that is deleted and made anew counts its tries
    from 1 again."""
    return not own.state.settled or by.first_try <= own.state.settled_in_try < by.try_number


def _conflict(other: Rollout) -> RolloutConflictError:
    state = other.state
    return RolloutConflictError(
        f"a rollout of {other.model} is under way: {other.id}, begun by {other.by.key} (owner {other.by.owner}) at "
        f"{state.started_at:%Y-%m-%d %H:%M:%S} UTC, {state.status} at step {state.step}. Wait until it is over, or end "
        "it there."
    )
