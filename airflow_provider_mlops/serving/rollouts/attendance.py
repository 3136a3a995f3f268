"""The last check of each rollout by its task: a time that the task writes and the gateways read.

It is stored next to the state of the rollout, not in it: a check changes nothing that others compare, keep or follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.tables import ROLLOUTS

_LONGEST_SPACING = timedelta(seconds=30)


@dataclass(frozen=True)
class Attendance:
    """The last check of a rollout.

    Parameters
    ----------
    at
        Time of the check, by the clock of the machine that made it.
    by
        Key of the task, or name of the person.
    """

    at: datetime
    by: str


def spacing(timeout: timedelta | None) -> timedelta:
    """Return how old the last check may become before another one is written: a tenth of the timeout, at most 30 s.

    >>> spacing(timedelta(hours=1)), spacing(timedelta(seconds=20)), spacing(None)
    (datetime.timedelta(seconds=30), datetime.timedelta(seconds=2), datetime.timedelta(seconds=30))
    """
    return _LONGEST_SPACING if timeout is None else min(timeout / 10, _LONGEST_SPACING)


def attend(store: RolloutStore, rollout: Rollout, by: str, now: datetime | None = None) -> None:
    """Record that someone has checked a rollout, unless the last record is recent and by the same one.

    Raises BackendUnavailableError.
    """
    moment = now or datetime.now(UTC)
    last = read_attendances(store).get(rollout.id)
    is_recent = (
        last is not None
        and last.by == by
        and timedelta(0) <= moment - last.at < spacing(rollout.plan.unattended_timeout)
    )
    if is_recent:
        return
    with store.engine.writing() as connection:
        connection.execute(
            update(ROLLOUTS)
            .where(ROLLOUTS.c.id == rollout.id)
            .values(attended_at=moment.isoformat(), attended_by=by[:1000])
        )


def read_attendances(store: RolloutStore) -> dict[str, Attendance]:
    """Return the last check of each rollout that is not over, by its id. Raises BackendUnavailableError."""
    query = select(ROLLOUTS.c.id, ROLLOUTS.c.attended_at, ROLLOUTS.c.attended_by)
    with store.engine.reading() as connection:
        rows = connection.execute(query.where(ROLLOUTS.c.active_model.is_not(None))).all()
    return {row.id: Attendance(datetime.fromisoformat(row.attended_at), row.attended_by) for row in rows}
