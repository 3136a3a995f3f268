"""From the write-ahead log into the rollout store: every acknowledged fact exactly once.

What a stretch of a segment adds is written in one transaction with the cursor behind it. A process that is killed
before the commit has added nothing, and one after it never reads the stretch again; of two processes that read the same
stretch, one finds the cursor moved. A writer's own process reads its segments as far as they are there to stay; when it
is dead, whoever holds its lock reads them to the end.

**Rewards.** The first label or the first reward of a prediction counts, whichever the rollout's `reward` asks for, in
the order in which they are ingested; what comes later for the same prediction changes nothing, so that sending it twice
counts once. Feedback may be ingested before the decision it is for: it waits there. For a request of several rows, each
row has a reward of its own.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mlops.serving.log import record, write_ahead
from airflow_provider_mlops.serving.log.write_ahead import Segment, WriteAhead
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence_delta import EvidenceDelta, Key, reward_of, rewarded
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.rollout_context import has_marks
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, bump
from airflow_provider_mlops.serving.rollouts.tables import (
    ARM_STATISTICS,
    CURSORS,
    DECISIONS,
    REWARDS,
    ROLLOUTS,
    STATISTICS_CHANGED,
)

log = logging.getLogger(__name__)

Cursor = tuple[int, int]
"""A segment's number, and the position in it up to which it has been read."""

_BEGINNING: Cursor = (0, 0)
_STRETCH_BYTES = 2 * 1024 * 1024
_AT_ONCE = 500
Item = TypeVar("Item")


class _Overtaken(Exception):
    """Another process has ingested the stretch."""


class Ingestion:
    """Reads segments of the write-ahead log into the store. To be used by one thread at a time.

    :param own: this process's part of the log; None for a process that only takes over what dead ones left.
    """

    def __init__(self, store: RolloutStore, root: str, own: WriteAhead | None = None) -> None:
        self._store = store
        self._root = root
        self._own = own
        # Where the store's cursors stand as far as is known, and how far was read without anything to write.
        self._stored: dict[str, Cursor] = {}
        self._read: dict[str, Cursor] = {}
        self._plans: dict[str, RolloutPlan | None] = {}

    def run(self) -> int:
        """Ingest what is there by now: this process's records, and those of dead ones. Returns how many transactions.

        Raises BackendUnavailableError; then the log keeps what was not ingested, and the next run goes on there.
        """
        began, done = time.monotonic(), 0
        if self._own is not None:
            number, size = self._own.position()
            # Asked after the position, so that no evidence before it is missed.
            self._skip(self._own.writer, self._own.evidence(), (number, size))
            for segment in write_ahead.segments_of(self._root, self._own.writer):
                if segment.number < number:
                    done += self.ingest(segment)
                elif segment.number == number:
                    done += self.ingest(segment, size)
        with write_ahead.orphans(self._root) as left:
            for segment in left:
                done += self.ingest(segment)
        if done:
            log.debug("Ingested in %d transactions within %.3f s", done, time.monotonic() - began)
        return done

    def ingest(self, segment: Segment, end: int | None = None) -> int:
        """Ingest one segment up to a position, or as a whole if it will not change any more.

        A writer's segments must come in their order. Returns the number of transactions.
        """
        done = 0
        while True:
            try:
                size = os.stat(segment.path).st_size if end is None else end
                return done + self._ingest(segment, size, is_whole=end is None)
            except FileNotFoundError:
                # Compacted by another process, which had seen it ingested.
                return done
            except _Overtaken:
                # Or the store was made anew, and knows other rollouts.
                self._plans.clear()
                self._stored.pop(segment.writer, None)
                self._read.pop(segment.writer, None)

    def _skip(self, writer: str, evidence: Cursor, end: Cursor) -> None:
        """Take as read what this process wrote after the last record that may matter here."""
        read = self._read.get(writer)
        if read is not None and evidence <= read < end:
            self._read[writer] = end

    def is_ingested(self, segment: Segment) -> bool:
        """Whether nothing in a segment that will not change any more is needed here."""
        number, position = max(self._read.get(segment.writer, _BEGINNING), self._stored.get(segment.writer, _BEGINNING))
        if segment.number != number:
            return segment.number < number
        try:
            return position >= os.stat(segment.path).st_size
        except FileNotFoundError:
            return True

    def _ingest(self, segment: Segment, end: int, *, is_whole: bool) -> int:
        writer, done = segment.writer, 0
        if writer not in self._read:
            self._stored[writer] = self._read[writer] = self._cursor(writer)
        while True:
            number, position = self._read[writer]
            if segment.number < number:
                return done
            start = position if segment.number == number else 0
            additions, reached = self._stretch(segment, start, end)
            if reached == start:
                if is_whole:
                    # Whatever is left has no end: it was never acknowledged.
                    self._read[writer] = (segment.number, max(start, end))
                return done
            if additions:
                self._commit(writer, additions, (segment.number, reached))
                done += 1
            self._read[writer] = (segment.number, reached)

    def _stretch(self, segment: Segment, start: int, end: int) -> tuple[EvidenceDelta, int]:
        additions, reached = EvidenceDelta(self._plan), start
        for position, line in write_ahead.lines(segment.path, start, end):
            if has_marks(line) or line.startswith(b'{"feedback"'):
                try:
                    additions.add(record.parse(line))
                except (ValueError, KeyError, TypeError) as error:
                    log.error("A line before %d in %s is left out: %r", position, segment.path, error)
            reached = position
            if reached - start >= _STRETCH_BYTES:
                break
        return additions, reached

    def _cursor(self, writer: str) -> Cursor:
        with self._store.engine.reading() as connection:
            return _cursor(connection, writer)

    def _plan(self, rollout: str) -> RolloutPlan | None:
        if rollout not in self._plans:
            with self._store.engine.reading() as connection:
                found = self._plans[rollout] = _plan(connection, rollout)
            if found is None:
                log.error("There is no rollout %s in %s: its records are left out", rollout, self._store.engine.address)
        return self._plans[rollout]

    def _commit(self, writer: str, additions: EvidenceDelta, cursor: Cursor) -> None:
        with self._store.engine.writing() as connection:
            if _cursor(connection, writer) != self._stored[writer]:
                raise _Overtaken
            if additions.decisions:
                connection.execute(self._insert(DECISIONS).on_conflict_do_nothing(), additions.decisions)
            statistics = additions.statistics()
            for key, addition in self._rewards(connection, additions).items():
                statistics[key] = statistics.get(key, ArmStatistics()) + addition
            self._add(connection, statistics)
            position = {"writer": writer, "segment": cursor[0], "position": cursor[1]}
            connection.execute(
                self._insert(CURSORS).values(position).on_conflict_do_update(index_elements=["writer"], set_=position)
            )
        self._stored[writer] = cursor

    def _rewards(self, connection: Connection, additions: EvidenceDelta) -> dict[Key, ArmStatistics]:
        """Keep feedback, and count what has both a reward and a decision by now."""
        decided = {decision["prediction_id"] for decision in additions.decisions}
        wanted = _first(self._wanted(connection, additions.feedback, decided))
        if wanted:
            upsert = self._insert(REWARDS)
            fresh = upsert.excluded
            first = {name: func.coalesce(REWARDS.c[name], fresh[name]) for name in ("label", "reward")}
            connection.execute(upsert.on_conflict_do_update(index_elements=["prediction_id"], set_=first), wanted)
        touched = decided | {row["decision_id"] for row in wanted}
        found: dict[Key, ArmStatistics] = {}
        counted = []
        for names in _parts(sorted(touched)):
            query = (
                select(
                    REWARDS.c.prediction_id, REWARDS.c.label, REWARDS.c.reward,
                    DECISIONS.c.rollout, DECISIONS.c.step, DECISIONS.c.arm, DECISIONS.c.context, DECISIONS.c.outputs,
                )
                .join(DECISIONS, DECISIONS.c.prediction_id == REWARDS.c.decision_id)
                .where(REWARDS.c.decision_id.in_(names), REWARDS.c.counted.is_(None))
            )  # fmt: skip
            for row in connection.execute(query).all():
                plan = self._plans.get(row.rollout) or _plan(connection, row.rollout)
                if plan is None:
                    continue
                reward = reward_of(plan, row.prediction_id, row.outputs, row.label, row.reward)
                if reward is not None:
                    key = (row.rollout, row.step, row.arm)
                    found[key] = found.get(key, ArmStatistics()) + rewarded(plan, row.context, reward)
                    counted.append({"name": row.prediction_id, "value": reward})
        if counted:
            count = update(REWARDS).where(REWARDS.c.prediction_id == bindparam("name"))
            connection.execute(count.values(counted=bindparam("value")), counted)
        return found

    def _wanted(
        self, connection: Connection, feedback: Sequence[dict[str, Any]], decided: set[str]
    ) -> list[dict[str, Any]]:
        """The feedback that some rollout may ask for: of known decisions, or of any while a rollout learns."""
        if not feedback:
            return []
        active = connection.scalars(select(ROLLOUTS.c.spec).where(ROLLOUTS.c.active_model.is_not(None))).all()
        if any(json.loads(text).get("reward") is not None for text in active):
            return list(feedback)
        known = set(decided)
        for names in _parts(sorted({row["decision_id"] for row in feedback})):
            known.update(
                connection.scalars(select(DECISIONS.c.prediction_id).where(DECISIONS.c.prediction_id.in_(names)))
            )
        return [row for row in feedback if row["decision_id"] in known]

    def _add(self, connection: Connection, statistics: dict[Key, ArmStatistics]) -> None:
        if not statistics:
            return
        for (rollout, step, arm), addition in statistics.items():
            place = (
                (ARM_STATISTICS.c.rollout == rollout) & (ARM_STATISTICS.c.step == step) & (ARM_STATISTICS.c.arm == arm)
            )
            before = connection.scalar(select(ARM_STATISTICS.c.statistics).where(place))
            if before is None:
                connection.execute(
                    insert(ARM_STATISTICS).values(rollout=rollout, step=step, arm=arm, statistics=addition.to_json())
                )
            else:
                total = ArmStatistics.from_json(before) + addition
                connection.execute(update(ARM_STATISTICS).where(place).values(statistics=total.to_json()))
        bump(connection, STATISTICS_CHANGED)

    def _insert(self, table: Any) -> Any:
        return (sqlite if self._store.engine.is_sqlite else postgresql).insert(table)


def _cursor(connection: Connection, writer: str) -> Cursor:
    row = connection.execute(select(CURSORS.c.segment, CURSORS.c.position).where(CURSORS.c.writer == writer)).first()
    return _BEGINNING if row is None else (row.segment, row.position)


def _plan(connection: Connection, rollout: str) -> RolloutPlan | None:
    text = connection.scalar(select(ROLLOUTS.c.spec).where(ROLLOUTS.c.id == rollout))
    try:
        return None if text is None else RolloutPlan.model_validate_json(text)
    except ValidationError as error:
        log.error("Rollout %s was begun by another release, and cannot be read: %s", rollout, error)
        return None


def _first(feedback: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each prediction, with the first label and reward: a statement may not meet a row twice."""
    found: dict[str, dict[str, Any]] = {}
    for row in feedback:
        kept = found.setdefault(row["prediction_id"], dict(row))
        for name in ("label", "reward"):
            if kept[name] is None:
                kept[name] = row[name]
    return list(found.values())


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Databases take only so many parameters at once."""
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
