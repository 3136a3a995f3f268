"""How long no one has checked each rollout, measured by a gateway.

A gateway never compares its clock with that of the task. It takes the time of the last check as a mark, and measures
with its monotonic clock for how long the mark has stayed the same, so that a clock that is set changes nothing. Time
during which the store was unavailable does not count, because the task could not write either.

Two events limit what counts to half of the timeout. After an outage of the store, so that the task has time to check
again. And when a gateway starts, which knows earlier checks only by the clocks of others: half of the timeout may be
over by then, but the other half must pass before its eyes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_provider_mlops.serving.rollouts.attendance import Attendance, spacing
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

_LONGEST_GAP = 5.0
"""Seconds between two polls; after a longer gap, the store was unavailable or this process was stopped."""


@dataclass
class _Mark:
    attendance: Attendance
    seconds: float
    """Time for which this gateway has seen the mark unchanged."""


class UnattendedRollouts:
    """The rollouts that no one checks. One thread at a time may use it.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    now
        Clock of this machine, used only for a rollout that is seen for the first time.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        self._now = now
        self._marks: dict[str, _Mark] = {}
        self._last_poll: float | None = None
        self._last_reading: float | None = None

    def overdue(
        self, rollouts: Iterable[Rollout], read: Callable[[], Mapping[str, Attendance]]
    ) -> list[tuple[Rollout, Attendance]]:
        """Return the rollouts that no one has checked for their `unattended_timeout`, each with the last check.

        Call it after each successful poll of the store.

        Parameters
        ----------
        read
            Function that reads the last checks from the store. It is called only when a reading is due.
        """
        watched = {rollout.id: rollout for rollout in rollouts if rollout.state.is_in_progress}
        self._marks = {key: mark for key, mark in self._marks.items() if key in watched}
        self._count_time(watched)
        timeouts = [rollout.plan.unattended_timeout for rollout in watched.values()]
        limits = [timeout for timeout in timeouts if timeout is not None]
        if not watched or not self._is_due(watched, min(map(spacing, limits), default=spacing(None))):
            return []
        attendances = read()
        self._last_reading = self._clock()
        for rollout in watched.values():
            if (attendance := attendances.get(rollout.id)) is not None:
                self._see(rollout, attendance)
        return [
            (rollout, self._marks[rollout.id].attendance) for rollout in watched.values() if self._is_overdue(rollout)
        ]

    def last(self, rollout_id: str) -> Attendance | None:
        """Return the last check of a rollout that this gateway has read."""
        mark = self._marks.get(rollout_id)
        return None if mark is None else mark.attendance

    def _count_time(self, watched: Mapping[str, Rollout]) -> None:
        now = self._clock()
        gap = 0.0 if self._last_poll is None else now - self._last_poll
        self._last_poll = now
        for key, mark in self._marks.items():
            timeout = watched[key].plan.unattended_timeout
            if gap <= _LONGEST_GAP:
                mark.seconds += gap
            elif timeout is not None:
                mark.seconds = min(mark.seconds, timeout.total_seconds() / 2)

    def _is_due(self, watched: Mapping[str, Rollout], every: timedelta) -> bool:
        if self._last_reading is None or watched.keys() - self._marks.keys():
            return True
        return self._clock() - self._last_reading >= every.total_seconds() or any(
            map(self._is_overdue, watched.values())
        )

    def _see(self, rollout: Rollout, attendance: Attendance) -> None:
        mark = self._marks.get(rollout.id)
        if mark is None:
            timeout = rollout.plan.unattended_timeout or timedelta(0)
            passed = min(max(self._now() - attendance.at, timedelta(0)), timeout / 2)
            self._marks[rollout.id] = _Mark(attendance, passed.total_seconds())
        elif mark.attendance != attendance:
            self._marks[rollout.id] = _Mark(attendance, 0.0)

    def _is_overdue(self, rollout: Rollout) -> bool:
        mark, timeout = self._marks.get(rollout.id), rollout.plan.unattended_timeout
        return mark is not None and timeout is not None and mark.seconds >= timeout.total_seconds()
