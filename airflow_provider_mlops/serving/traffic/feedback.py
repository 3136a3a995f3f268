"""Sending labels and rewards to the gateway, some time after the predictions."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import NotRequired, TypedDict

import orjson

from airflow_provider_mlops.serving.traffic.connection import Connection, UnansweredError
from airflow_provider_mlops.serving.traffic.record import Record
from airflow_provider_mlops.serving.traffic.summary import Labels
from airflow_provider_mlops.serving.traffic.traffic import Traffic

_AT_ONCE = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class FeedbackEntry(TypedDict):
    """A label, a reward, or both for one prediction, as `POST /feedback` takes them."""

    prediction_id: str
    label: NotRequired[str | int | float | bool]
    reward: NotRequired[float]


class Feedback:
    """The feedback that waits for its time, in the order in which it was added. It is sent until it is acknowledged.

    Parameters
    ----------
    connection
        Connection to the gateway, which is closed at the end.
    counts
        Counters to update.
    record
        File to which acknowledged and lost feedback is written.
    """

    def __init__(self, traffic: Traffic, connection: Connection, counts: Labels, record: Record) -> None:
        self._connection = connection
        self._delay = traffic.label_delay
        self._patience = traffic.label_patience
        self._counts = counts
        self._record = record
        self._waiting: deque[tuple[float, FeedbackEntry]] = deque()
        self._changed = asyncio.Event()
        self._is_complete = False
        self.problem: str | None = None

    def add(self, entries: Iterable[FeedbackEntry]) -> None:
        """Add the feedback for predictions that have just arrived."""
        due = time.perf_counter() + self._delay
        for entry in entries:
            self._waiting.append((due, entry))
            self._counts.due += 1
        self._changed.set()

    def complete(self) -> None:
        """Mark the feedback as complete: nothing more will be added."""
        self._is_complete = True
        self._changed.set()

    async def send(self) -> None:
        """Send all feedback until it is complete. At the end, each entry is either acknowledged or lost."""
        try:
            while self._waiting or not self._is_complete:
                self._changed.clear()
                if not self._waiting:
                    await self._changed.wait()
                elif (left := self._waiting[0][0] - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                else:
                    await self._deliver(min(_AT_ONCE, self._due(time.perf_counter())))
        finally:
            self._connection.close()

    async def _deliver(self, count: int) -> None:
        """Send the first `count` waiting entries until at least one of them is acknowledged or lost."""
        entries = [entry for _, entry in islice(self._waiting, count)]
        content = orjson.dumps({"feedback": entries})
        until = self._waiting[0][0] + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = await self._connection.post("/feedback", content)
            except UnansweredError as error:
                problem = str(error)
            else:
                if answer.status == 200:
                    self._record.acknowledged(self._forget(count))
                    self._counts.acknowledged += count
                    return
                problem = f"{answer.status} {answer.content[:300].decode(errors='replace')}"
                if answer.status not in (408, 429) and answer.status < 500:
                    # One invalid label makes the gateway refuse the whole request.
                    if count > 1:
                        await self._deliver(count // 2)
                    else:
                        self._lose(1, problem)
                    return
            now = time.perf_counter()
            if now + pause > until:
                self._lose(max(1, self._due(now - self._patience)), problem)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _due(self, moment: float) -> int:
        """Return the number of waiting entries that are due at a moment."""
        return sum(1 for _ in takewhile(lambda waiting: waiting[0] <= moment, self._waiting))

    def _lose(self, count: int, problem: str) -> None:
        self._record.lost(self._forget(count))
        self._counts.lost += count
        self.problem = self.problem or problem

    def _forget(self, count: int) -> list[str]:
        """Remove the first waiting entries, and return their prediction ids."""
        return [self._waiting.popleft()[1]["prediction_id"] for _ in range(count)]
