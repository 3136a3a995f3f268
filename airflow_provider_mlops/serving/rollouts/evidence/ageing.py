"""Ageing of the rollout store: what waits too long, or waits for a rollout that is over, is deleted.

A decision waits for its rewards, and a reward for its decision, for the `window` of the rollout's reward. The time is
taken from a clock in the store that counts the seconds during which a gateway runs. A wall clock that jumps therefore
ages nothing too early, and while no gateway runs, nothing ages. Statistics and history stay.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.sql import ColumnElement

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.rollouts.evidence.reward_matching import (
    RewardedRollout,
    RewardOutcome,
    read_clock,
    rewarded_rollouts,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store_engine import StoreEngine
from airflow_provider_mlops.serving.rollouts.tables import CLOCK, CLOCK_NAME, DECISIONS, REWARDS

log = logging.getLogger(__name__)

AGEING_SECONDS = 10.0
"""Seconds between two runs."""

_BATCH = 20_000
"""Rows that one transaction deletes at most, because other writers wait for it."""
_MAX_SECONDS = 5.0
_COMPLETE_EVERY = 360


class Ageing:
    """Deletes what waits too long. Not safe to use from two threads; any number of processes may do it at once.

    Parameters
    ----------
    engine
        Database of the store.
    monotonic
        Clock that advances the store's clock.
    wall
        Clock that prediction ids are made with, in seconds since 1970.
    """

    def __init__(
        self,
        engine: StoreEngine,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._wall = wall
        # The store's clock as last seen, and when.
        self._seen: int | None = None
        self._seen_at = 0.0
        self._runs = 0
        self._plans: dict[str, RolloutPlan | None] = {}

    def run(self) -> Counter[RewardOutcome]:
        """Delete once, for a few seconds at most, and return the number of rewards by outcome.

        Raises BackendUnavailableError. Call it every `AGEING_SECONDS`.
        """
        outcomes: Counter[RewardOutcome] = Counter()
        with self._engine.reading() as connection:
            is_empty = _is_empty(connection)
            rollouts = [] if is_empty else rewarded_rollouts(connection, self._plans)
            waiting_for = [] if is_empty else list(_rollouts_of_decisions(connection))
        if is_empty:
            self._seen = None
            return outcomes
        now, until = self._advance(), time.monotonic() + _MAX_SECONDS
        in_progress = {rollout.number for rollout in rollouts}
        for number in waiting_for:
            if number not in in_progress:
                deleted = self._delete(DECISIONS.c.rollout == number, until)
                log.debug("Deleted %s of a rollout that is over", pluralize(deleted, "decision"))
        for rollout in rollouts:
            outcomes["missing"] += self._delete(self._overdue(rollout, now), until)
        longest = max((rollout.reward.window for rollout in rollouts), default=timedelta(0))
        with self._engine.writing() as connection:
            old = REWARDS.c.since <= now - longest.total_seconds()
            outcomes["unmatched"] += connection.execute(delete(REWARDS).where(old)).rowcount
        self._runs += 1
        self._engine.give_back_pages()
        return +outcomes

    def _advance(self) -> int:
        """Advance the store's clock, unless another process does, and return its time."""
        with self._engine.writing() as connection:
            seconds, now = read_clock(connection), self._monotonic()
            if self._seen == seconds:
                passed = int(now - self._seen_at)
                self._seen_at += passed
                seconds += passed
                connection.execute(update(CLOCK).where(CLOCK.c.name == CLOCK_NAME).values(seconds=seconds))
            else:
                self._seen_at = now
        self._seen = seconds
        return seconds

    def _overdue(self, rollout: RewardedRollout, now: int) -> ColumnElement[bool]:
        window = rollout.reward.window.total_seconds()
        overdue = (DECISIONS.c.rollout == rollout.number) & (DECISIONS.c.since <= now - window)
        if self._runs % _COMPLETE_EVERY == 0:
            return overdue
        # Ids begin with the time of the request, so that old ones are found without looking at all. A wall clock that
        # jumps makes them wrong: now and then, all are looked at.
        oldest = max(0, int((self._wall() - window) * 1000))
        return overdue & (DECISIONS.c.prediction_id < oldest.to_bytes(6) + b"\xff" * 10)

    def _delete(self, condition: ColumnElement[bool], until: float) -> int:
        """Delete decisions in batches, and return how many."""
        name, deleted = DECISIONS.c.prediction_id, 0
        while True:
            with self._engine.reading() as connection:
                batch = connection.scalars(select(name).where(condition).order_by(name).limit(_BATCH)).all()
            if batch:
                with self._engine.writing() as connection:
                    deleted += connection.execute(delete(DECISIONS).where(condition, name <= batch[-1])).rowcount
            if len(batch) < _BATCH or time.monotonic() > until:
                return deleted


def _is_empty(connection: Connection) -> bool:
    return all(connection.execute(select(table.c.since).limit(1)).first() is None for table in (DECISIONS, REWARDS))


def _rollouts_of_decisions(connection: Connection) -> Iterator[int]:
    """Yield the numbers of the rollouts that have decisions, without reading all decisions."""
    number, last = DECISIONS.c.rollout, -1
    while True:
        found = connection.scalar(select(number).where(number > last).order_by(number).limit(1))
        if found is None:
            return
        yield found
        last = found
