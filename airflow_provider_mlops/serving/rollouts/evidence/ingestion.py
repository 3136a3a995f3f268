"""Ingestion: from the write-ahead log into the rollout store, every acknowledged record exactly once.

The evidence of a stretch of a segment is written in one transaction together with the cursor behind it. A process that
is killed before the commit has added nothing; after the commit, no process reads the stretch again. If two processes
read the same stretch, one of them finds that the cursor has moved. A writer's own process reads its segments up to the
last complete write; after its death, the process that holds its lock reads them to the end.

A record that cannot be counted is skipped and logged; the rest goes on.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import BackendUnavailableError, BackendUnusableError
from airflow_provider_mlops.serving.log import record, segments, write_ahead
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.repeated_log import RepeatedLog
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import EvidenceDelta
from airflow_provider_mlops.serving.rollouts.evidence.evidence_writer import (
    BEGINNING,
    Cursor,
    CursorMovedError,
    read_cursor,
    read_plan,
    write_evidence,
)
from airflow_provider_mlops.serving.rollouts.evidence.expected_failures import ExpectedFailures
from airflow_provider_mlops.serving.rollouts.evidence.reward_matching import RewardOutcome
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)
repeated = RepeatedLog(log)

_STRETCH_BYTES = 512 * 1024
"""Size of what one transaction adds; other threads of a gateway run in between."""
_STORE_ERRORS = (BackendUnavailableError, BackendUnusableError)
"""Errors of the store, for which no record is to blame."""


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
        # Rates of failures at the positions up to which the logs were read.
        self._expected: dict[str, ExpectedFailures] = {}
        self._plans: dict[str, RolloutPlan | None] = {}
        self._outcomes: Counter[RewardOutcome] = Counter()

    def run(self) -> int:
        """Ingest the records of this process and of dead processes, and return the number of transactions.

        Raises BackendUnavailableError and BackendUnusableError. The log keeps what was not ingested, and the next run
        continues there.
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
                try:
                    done += self.ingest(segment)
                except OSError as error:
                    # Of another process, perhaps of another user: it must not keep this one's evidence back.
                    repeated.error(segment.path, "Could not read the evidence in %s: %s", segment.path, error)
        if done:
            log.debug(
                "Ingested rollout evidence in %s in %.3f s", pluralize(done, "transaction"), time.monotonic() - began
            )
        return done

    def take_outcomes(self) -> Counter[RewardOutcome]:
        """Return the number of rewards by outcome since the last call."""
        taken, self._outcomes = self._outcomes, Counter()
        return taken

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
            except CursorMovedError:
                # The store may also have been recreated, with other rollouts.
                self._plans.clear()
                self._stored.pop(segment.writer, None)
                self._read.pop(segment.writer, None)
                self._expected.pop(segment.writer, None)

    def _skip(self, writer: str, evidence: Cursor, end: Cursor) -> None:
        """Mark as read what this process has written since the last record that may count."""
        read = self._read.get(writer)
        if read is not None and evidence <= read < end:
            self._read[writer] = end

    def is_ingested(self, segment: segments.Segment) -> bool:
        """Return whether a segment that will not change anymore is no longer needed for rollouts."""
        number, position = max(self._read.get(segment.writer, BEGINNING), self._stored.get(segment.writer, BEGINNING))
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
                done += self._commit_valid(segment, delta, start, reached)
            self._read[writer] = (segment.number, reached)
            self._expected[writer] = delta.expected

    def _read_stretch(
        self, segment: segments.Segment, start: int, end: int, max_bytes: int = _STRETCH_BYTES
    ) -> tuple[EvidenceDelta, int]:
        # A copy, because the stretch is read again if the store does not take it.
        expected = self._expected.get(segment.writer, ExpectedFailures()).copy()
        delta, reached = EvidenceDelta(self._plan, expected), start
        for position, line in segments.lines(segment.path, start, end):
            if record.is_evidence(line):
                try:
                    delta.add(record.parse(line))
                except _STORE_ERRORS:
                    raise
                except Exception as error:
                    _skipped(segment, position, error)
            reached = position
            if reached - start >= max_bytes:
                break
        return delta, reached

    def _commit_valid(self, segment: segments.Segment, delta: EvidenceDelta, start: int, end: int) -> int:
        """Commit a stretch, or else its lines one by one without those that the store refuses.

        Returns the number of transactions.
        """
        writer = segment.writer
        try:
            self._commit(writer, delta, (segment.number, end))
        except (*_STORE_ERRORS, CursorMovedError):
            raise
        except Exception:
            log.debug("The rollout store refuses a stretch of %s", segment.path, exc_info=True)
        else:
            return 1
        done = 0
        while start < end:
            delta, start = self._read_stretch(segment, start, end, max_bytes=1)
            self._expected[writer] = delta.expected
            if not delta:
                continue
            try:
                self._commit(writer, delta, (segment.number, start))
                done += 1
            except (*_STORE_ERRORS, CursorMovedError):
                raise
            except Exception as error:
                _skipped(segment, start, error)
        return done

    def _cursor(self, writer: str) -> Cursor:
        with self._store.engine.reading() as connection:
            return read_cursor(connection, writer)

    def _plan(self, rollout: str) -> RolloutPlan | None:
        if rollout not in self._plans:
            with self._store.engine.reading() as connection:
                plan = self._plans[rollout] = read_plan(connection, rollout)
            if plan is None:
                address = self._store.engine.address
                log.error(
                    "Skipping the records of rollout %s, because the rollout store %s does not contain it",
                    rollout,
                    address,
                )
        return self._plans[rollout]

    def _commit(self, writer: str, delta: EvidenceDelta, cursor: Cursor) -> None:
        cursors = (self._stored[writer], cursor)
        self._outcomes += write_evidence(self._store.engine, writer, delta, cursors, self._plans)
        self._stored[writer] = cursor


def _skipped(segment: segments.Segment, position: int, error: Exception) -> None:
    log.error(
        "Skipped a record of rollout evidence that ends at byte %d of %s, because it cannot be counted: %s: %s",
        position,
        segment.path,
        type(error).__name__,
        error,
    )
