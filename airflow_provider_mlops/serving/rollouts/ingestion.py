"""Ingestion: from the write-ahead log into the rollout store, every acknowledged record exactly once.

The evidence of a stretch of a segment is written in one transaction together with the cursor behind it. A process that
is killed before the commit has added nothing; after the commit, no process reads the stretch again. If two processes
read the same stretch, one of them finds that the cursor has moved. A writer's own process reads its segments up to the
last complete write; after its death, the process that holds its lock reads them to the end.

**Rewards.** The first label or the first reward of a prediction counts, depending on the rollout's `reward`, in the
order of ingestion. Later ones for the same prediction change nothing, so that sending feedback twice counts once.
Feedback may be ingested before its decision; it then waits in the store. In a request with several rows, each row has a
reward of its own.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.log import record, segments, write_ahead
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence_delta import (
    EvidenceDelta,
    FeedbackEntry,
    Key,
    merge_feedback,
    reward_of,
    statistics_of_reward,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, increment
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
"""Number of a segment, and the position in it up to which it has been read."""

_BEGINNING: Cursor = (0, 0)
_STRETCH_BYTES = 2 * 1024 * 1024
_CHUNK_SIZE = 500
Item = TypeVar("Item")


class _CursorMovedError(Exception):
    """Another process has ingested the stretch."""


class Ingestion:
    """Reader of the write-ahead log's segments that adds their evidence to the store. Not safe to use from two threads.

    Parameters
    ----------
    own
        This process's part of the log; None for a process that only takes over what dead processes left.
    """

    def __init__(self, store: RolloutStore, root: str, own: WriteAhead | None = None) -> None:
        self._store = store
        self._root = root
        self._own = own
        # The store's cursors as last seen, and the positions up to which the log was read, with or without evidence.
        self._stored: dict[str, Cursor] = {}
        self._read: dict[str, Cursor] = {}
        self._plans: dict[str, RolloutPlan | None] = {}

    def run(self) -> int:
        """Ingest the records of this process and of dead processes, and return the number of transactions.

        Raises BackendUnavailableError. The log keeps what was not ingested, and the next run continues there.
        """
        began, done = time.monotonic(), 0
        if self._own is not None:
            number, size = self._own.position()
            # Read after the position, so that no evidence before the position is missed.
            self._skip(self._own.writer, self._own.evidence(), (number, size))
            for segment in segments.segments_of(self._root, self._own.writer):
                if segment.number < number:
                    done += self.ingest(segment)
                elif segment.number == number:
                    done += self.ingest(segment, size)
        with write_ahead.orphans(self._root) as left:
            for segment in left:
                done += self.ingest(segment)
        if done:
            log.debug(
                "Ingested rollout evidence in %s in %.3f s", pluralize(done, "transaction"), time.monotonic() - began
            )
        return done

    def ingest(self, segment: segments.Segment, end: int | None = None) -> int:
        """Ingest one segment up to a position, or as a whole if it will not change anymore.

        A writer's segments must be ingested in their order. Returns the number of transactions.
        """
        done = 0
        while True:
            try:
                size = os.stat(segment.path).st_size if end is None else end
                return done + self._ingest(segment, size, is_whole=end is None)
            except FileNotFoundError:
                # Compacted by another process, which only does that after the ingestion.
                return done
            except _CursorMovedError:
                # The store may also have been recreated, with other rollouts.
                self._plans.clear()
                self._stored.pop(segment.writer, None)
                self._read.pop(segment.writer, None)

    def _skip(self, writer: str, evidence: Cursor, end: Cursor) -> None:
        """Mark as read what this process has written since the last record that may count."""
        read = self._read.get(writer)
        if read is not None and evidence <= read < end:
            self._read[writer] = end

    def is_ingested(self, segment: segments.Segment) -> bool:
        """Return whether a segment that will not change anymore is no longer needed for rollouts."""
        number, position = max(self._read.get(segment.writer, _BEGINNING), self._stored.get(segment.writer, _BEGINNING))
        if segment.number != number:
            return segment.number < number
        try:
            return position >= os.stat(segment.path).st_size
        except FileNotFoundError:
            return True

    def _ingest(self, segment: segments.Segment, end: int, *, is_whole: bool) -> int:
        writer, done = segment.writer, 0
        if writer not in self._read:
            self._stored[writer] = self._read[writer] = self._cursor(writer)
        while True:
            number, position = self._read[writer]
            if segment.number < number:
                return done
            start = position if segment.number == number else 0
            delta, reached = self._read_stretch(segment, start, end)
            if reached == start:
                if is_whole:
                    # The rest is an unfinished line, which was never acknowledged.
                    self._read[writer] = (segment.number, max(start, end))
                return done
            if delta:
                self._commit(writer, delta, (segment.number, reached))
                done += 1
            self._read[writer] = (segment.number, reached)

    def _read_stretch(self, segment: segments.Segment, start: int, end: int) -> tuple[EvidenceDelta, int]:
        delta, reached = EvidenceDelta(self._plan), start
        for position, line in segments.lines(segment.path, start, end):
            if record.is_evidence(line):
                try:
                    delta.add(record.parse(line))
                except (ValueError, KeyError, TypeError) as error:
                    log.error(
                        "Skipped an unreadable line that ends at byte %d of %s: %r. Check whether the file was edited",
                        position,
                        segment.path,
                        error,
                    )
            reached = position
            if reached - start >= _STRETCH_BYTES:
                break
        return delta, reached

    def _cursor(self, writer: str) -> Cursor:
        with self._store.engine.reading() as connection:
            return _cursor(connection, writer)

    def _plan(self, rollout: str) -> RolloutPlan | None:
        if rollout not in self._plans:
            with self._store.engine.reading() as connection:
                plan = self._plans[rollout] = _plan(connection, rollout)
            if plan is None:
                address = self._store.engine.address
                log.error(
                    "Skipping the records of rollout %s, because the rollout store %s does not contain it",
                    rollout,
                    address,
                )
        return self._plans[rollout]

    def _commit(self, writer: str, delta: EvidenceDelta, cursor: Cursor) -> None:
        with self._store.engine.writing() as connection:
            if _cursor(connection, writer) != self._stored[writer]:
                raise _CursorMovedError
            if delta.decisions:
                rows = cast("list[dict[str, Any]]", delta.decisions)
                connection.execute(self._insert(DECISIONS).on_conflict_do_nothing(), rows)
            statistics = delta.statistics()
            for key, added in self._count_rewards(connection, delta).items():
                statistics[key] = statistics.get(key, ArmStatistics()) + added
            self._add(connection, statistics)
            position = {"writer": writer, "segment": cursor[0], "position": cursor[1]}
            connection.execute(
                self._insert(CURSORS).values(position).on_conflict_do_update(index_elements=["writer"], set_=position)
            )
        self._stored[writer] = cursor

    def _count_rewards(self, connection: Connection, delta: EvidenceDelta) -> dict[Key, ArmStatistics]:
        """Store the feedback, and return the statistics of rewards whose decision is known."""
        decided = {decision["prediction_id"] for decision in delta.decisions}
        feedback = merge_feedback(self._relevant_feedback(connection, delta.feedback, decided))
        if feedback:
            upsert = self._insert(REWARDS)
            added = upsert.excluded
            first = {name: func.coalesce(REWARDS.c[name], added[name]) for name in ("label", "reward")}
            rows = cast("list[dict[str, Any]]", feedback)
            connection.execute(upsert.on_conflict_do_update(index_elements=["prediction_id"], set_=first), rows)
        changed = decided | {entry["decision_id"] for entry in feedback}
        statistics: dict[Key, ArmStatistics] = {}
        counted = []
        for ids in _chunks(sorted(changed)):
            query = (
                select(
                    REWARDS.c.prediction_id,
                    REWARDS.c.label,
                    REWARDS.c.reward,
                    DECISIONS.c.rollout,
                    DECISIONS.c.step,
                    DECISIONS.c.arm,
                    DECISIONS.c.context,
                    DECISIONS.c.outputs,
                )
                .join(DECISIONS, DECISIONS.c.prediction_id == REWARDS.c.decision_id)
                .where(REWARDS.c.decision_id.in_(ids), REWARDS.c.counted.is_(None))
            )
            for row in connection.execute(query).all():
                plan = self._plans.get(row.rollout) or _plan(connection, row.rollout)
                if plan is None:
                    continue
                reward = reward_of(plan, row.prediction_id, row.outputs, row.label, row.reward)
                if reward is not None:
                    key = (row.rollout, row.step, row.arm)
                    one = statistics_of_reward(plan, row.context, reward)
                    statistics[key] = statistics.get(key, ArmStatistics()) + one
                    counted.append({"name": row.prediction_id, "value": reward})
        if counted:
            count = update(REWARDS).where(REWARDS.c.prediction_id == bindparam("name"))
            connection.execute(count.values(counted=bindparam("value")), counted)
        return statistics

    def _relevant_feedback(
        self, connection: Connection, feedback: Sequence[FeedbackEntry], decided: set[str]
    ) -> list[FeedbackEntry]:
        """Return the feedback for known decisions, or all of it while a rollout with a reward is in progress."""
        if not feedback:
            return []
        active = connection.scalars(select(ROLLOUTS.c.plan).where(ROLLOUTS.c.active_model.is_not(None))).all()
        if any(json.loads(text).get("reward") is not None for text in active):
            return list(feedback)
        known = set(decided)
        for ids in _chunks(sorted({entry["decision_id"] for entry in feedback})):
            known.update(
                connection.scalars(select(DECISIONS.c.prediction_id).where(DECISIONS.c.prediction_id.in_(ids)))
            )
        return [entry for entry in feedback if entry["decision_id"] in known]

    def _add(self, connection: Connection, statistics: dict[Key, ArmStatistics]) -> None:
        if not statistics:
            return
        for (rollout, step, arm), added in statistics.items():
            is_arm = (
                (ARM_STATISTICS.c.rollout == rollout) & (ARM_STATISTICS.c.step == step) & (ARM_STATISTICS.c.arm == arm)
            )
            before = connection.scalar(select(ARM_STATISTICS.c.statistics).where(is_arm))
            if before is None:
                connection.execute(
                    insert(ARM_STATISTICS).values(rollout=rollout, step=step, arm=arm, statistics=added.to_json())
                )
            else:
                total = ArmStatistics.from_json(before) + added
                connection.execute(update(ARM_STATISTICS).where(is_arm).values(statistics=total.to_json()))
        increment(connection, STATISTICS_CHANGED)

    def _insert(self, table: Any) -> Any:
        return (sqlite if self._store.engine.is_sqlite else postgresql).insert(table)


def _cursor(connection: Connection, writer: str) -> Cursor:
    row = connection.execute(select(CURSORS.c.segment, CURSORS.c.position).where(CURSORS.c.writer == writer)).first()
    return _BEGINNING if row is None else (row.segment, row.position)


def _plan(connection: Connection, rollout: str) -> RolloutPlan | None:
    text = connection.scalar(select(ROLLOUTS.c.plan).where(ROLLOUTS.c.id == rollout))
    try:
        return None if text is None else RolloutPlan.model_validate_json(text)
    except ValidationError as error:
        log.error(
            "This gateway does not count the evidence of rollout %s, because this release cannot read the rollout "
            "(%s). End the rollout with the release that started it",
            rollout,
            error,
        )
        return None


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield parts of the items: databases limit the number of parameters of a statement."""
    for start in range(0, len(items), _CHUNK_SIZE):
        yield items[start : start + _CHUNK_SIZE]
