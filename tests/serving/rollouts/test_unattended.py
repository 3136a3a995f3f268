"""Gateways roll back what no one checks, by their own clocks, and not because of an outage of the store."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.attendance import Attendance, attend, read_attendances
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.router import Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.unattended import UnattendedRollouts
from tests.helpers.followed_rollouts import NOW, Clock, following, versions
from tests.helpers.rollouts import canary, task

TIMEOUT = 600.0


class Watch:
    """A gateway, time that passes for it, and a task that may check."""

    def __init__(self, store: RolloutStore, **plan: object) -> None:
        self.store, self.clock = store, Clock()
        self.rollout = store.start(
            "churn", canary(**{"unattended_timeout": TIMEOUT, **plan}), task(), datetime.now(UTC)
        )
        self.router: Router = following(store, clock=self.clock)
        self.checks = 0

    def check(self) -> None:
        # Each check has a later time, whatever the clock of the machine says.
        self.checks += 1
        attend(self.store, self.rollout, "churn/run-1/rollout", datetime.now(UTC) + timedelta(hours=self.checks))

    def let_pass(self, seconds: float, *, checked_every: float | None = None) -> Rollout:
        last, until = self.clock.now, self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 2.0
            if checked_every is not None and self.clock.now - last >= checked_every:
                self.check()
                last = self.clock.now
            self.router.poll()
        # What a gateway has rolled back is written at its next poll.
        self.router.poll()
        return self.store.get(self.rollout.id)


def test_what_no_one_checks_is_rolled_back_after_the_time(
    store: RolloutStore, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(store)
    assert watch.let_pass(TIMEOUT - 10).state.status == "running"
    assert versions(watch.router) == {1, 2}
    with caplog.at_level(logging.ERROR):
        state = watch.let_pass(70).state
    assert (state.status, state.version, state.changed_by) == ("rolled_back", 1, "gateway 1")
    assert state.reason.startswith(
        "no one has checked the rollout for 10 minutes (unattended_timeout); the last check was by churn/run-1/rollout"
    )
    assert state.reason in caplog.text
    assert [each.status for each in store.history(watch.rollout.id)] == ["running", "rolled_back"]


def test_what_is_checked_goes_on(store: RolloutStore) -> None:
    watch = Watch(store)
    assert watch.let_pass(5 * TIMEOUT, checked_every=TIMEOUT / 2).state.status == "running"
    assert watch.let_pass(TIMEOUT - 70).state.status == "running"
    assert watch.let_pass(140).state.status == "rolled_back"


@pytest.mark.parametrize("held", [False, True])
def test_a_paused_and_a_held_rollout_are_watched_too(store: RolloutStore, held: bool) -> None:
    watch = Watch(store)
    change = transitions.held if held else transitions.paused
    store.change(watch.rollout.id, lambda seen: change(seen.state, NOW, "ada", "later"))
    assert watch.let_pass(2 * TIMEOUT, checked_every=60).state.is_in_progress
    assert watch.let_pass(TIMEOUT + 70).state.status == "rolled_back"


def test_without_a_timeout_nothing_happens(store: RolloutStore) -> None:
    assert Watch(store, unattended_timeout=None).let_pass(20 * TIMEOUT).state.status == "running"


def test_a_clock_that_jumps_changes_nothing(store: RolloutStore) -> None:
    """Neither the gateway's clock nor the task's is compared with another one."""
    rollout = store.start("churn", canary(unattended_timeout=TIMEOUT), task(), NOW)
    clock, wall = Clock(), [NOW]
    unattended = UnattendedRollouts(clock, lambda: wall[0])

    def overdue() -> bool:
        clock.now += 1.0
        return bool(unattended.overdue([rollout], lambda: read_attendances(store)))

    assert not overdue()
    for jump in (timedelta(days=400), -timedelta(days=800)):
        wall[0] += jump
        assert not any(overdue() for _ in range(int(TIMEOUT / 2) - 20))
        attend(store, rollout, "task", wall[0])
        assert not any(overdue() for _ in range(60))
    assert any(overdue() for _ in range(int(TIMEOUT) + 60))


def test_an_outage_of_the_store_is_no_ones_fault(store: RolloutStore, tmp_path: Path) -> None:
    watch = Watch(store)
    assert watch.let_pass(TIMEOUT * 0.9).state.status == "running"
    database = tmp_path / "store" / "rollouts.db"
    database.rename(tmp_path / "away.db")
    for _ in range(300):
        watch.clock.now += 60
        watch.router.poll()
    assert watch.router.error is not None
    (tmp_path / "away.db").rename(database)
    # The task, which could not write for five hours, has time to check again.
    assert watch.let_pass(TIMEOUT / 3).state.status == "running"
    watch.check()
    assert watch.let_pass(TIMEOUT - 70).state.status == "running"
    assert watch.let_pass(140).state.status == "rolled_back"


@pytest.mark.parametrize(
    ("age", "left"), [(0, TIMEOUT), (TIMEOUT / 4, TIMEOUT * 3 / 4), (1e6, TIMEOUT / 2), (-1e6, TIMEOUT)]
)
def test_a_gateway_that_starts_gives_at_least_half_of_the_time(store: RolloutStore, age: float, left: float) -> None:
    rollout = store.start("churn", canary(unattended_timeout=TIMEOUT), task(), NOW)
    clock = Clock()
    unattended = UnattendedRollouts(clock, lambda: NOW + timedelta(seconds=age))
    passed = 0.0
    while not unattended.overdue([rollout], lambda: read_attendances(store)):
        clock.now += 1.0
        passed += 1.0
    assert passed == pytest.approx(left, abs=2)


def test_a_process_that_was_stopped_does_not_count_the_time(store: RolloutStore) -> None:
    watch = Watch(store)
    watch.clock.now += 100 * TIMEOUT
    assert watch.let_pass(TIMEOUT - 70).state.status == "running"


def test_two_gateways_write_one_rollback(store: RolloutStore) -> None:
    watch = Watch(store)
    other = following(store, clock=watch.clock)
    for _ in range(400):
        watch.clock.now += 2.0
        watch.router.poll()
        other.poll()
    assert [each.status for each in store.history(watch.rollout.id)] == ["running", "rolled_back"]
    assert watch.router.route("churn") is None
    assert other.route("churn") is None


def test_a_recent_check_is_not_written_again(store: RolloutStore) -> None:
    rollout = store.start("churn", canary(unattended_timeout=TIMEOUT), task(), NOW)
    assert read_attendances(store) == {rollout.id: Attendance(NOW, task().key)}
    written: list[str] = []

    def listen(*arguments: object) -> None:
        if str(arguments[2]).startswith("UPDATE"):
            written.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        for second in range(100):
            attend(store, rollout, task().key, NOW + timedelta(seconds=second))
        # Another author is written at once, and so is a check by a clock that was set back.
        attend(store, rollout, "ada", NOW + timedelta(seconds=100))
        attend(store, rollout, "ada", NOW - timedelta(days=1))
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert len(written) == 3 + 2
    assert read_attendances(store) == {rollout.id: Attendance(NOW - timedelta(days=1), "ada")}


def test_checks_change_neither_the_state_nor_what_gateways_poll(store: RolloutStore) -> None:
    rollout = store.start("churn", canary(), task(), NOW)
    before = store.changes()
    attend(store, rollout, task().key, NOW + timedelta(hours=1))
    assert (store.get(rollout.id), store.changes()) == (rollout, before)


def test_polls_read_the_checks_only_when_due(store: RolloutStore) -> None:
    watch = Watch(store)
    readings: list[str] = []

    def listen(*arguments: object) -> None:
        if "attended_at" in str(arguments[2]):
            readings.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        watch.let_pass(TIMEOUT / 2)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert 5 <= len(readings) <= 12
