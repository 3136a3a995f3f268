"""A task that is killed: canceled by a user, or only moved. The same for one that waits and one that is deferred."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.triggers.base import TriggerEvent

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.rollouts.attendance import read_attendances
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.triggers.cancellation import why_canceled
from airflow_provider_mlops.triggers.rollout import NoRolloutTrigger, RolloutTrigger
from tests.helpers.rollouts import canary, task

CANCELED = {"failed": "was marked as failed", "success": "was marked as successful", "skipped": "was skipped"}
MOVED = (None, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry", "up_for_reschedule")


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str | None]]:
    """What Airflow says about task instances, by run and task."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    known: dict[str, dict[str, str | None]] = {}

    def get_task_states(**question: Any) -> dict[str, dict[str, str | None]]:
        assert question["dag_id"] == "churn"
        return {run: known[run] for run in question["run_ids"] if run in known}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    return known


@pytest.mark.parametrize("state", [*CANCELED, *MOVED])
def test_only_an_end_that_a_user_has_set_is_a_cancellation(
    states: dict[str, dict[str, str | None]], state: str | None
) -> None:
    states["run-1"] = {"rollout": state, "rollout_3": state}
    for map_index in (-1, 3):
        assert why_canceled(task(map_index=map_index)) == CANCELED.get(str(state))


def test_a_task_that_is_gone_was_deleted(states: dict[str, dict[str, str | None]]) -> None:
    assert why_canceled(task()) == "was deleted with its run or DAG"
    states["run-1"] = {"rollout_1": "running"}
    assert why_canceled(task(map_index=2)) == "was deleted with its run or DAG"
    assert why_canceled(task(map_index=1)) is None


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RolloutStore]:
    """A store where Airflow's settings say that it is."""
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(tmp_path))
    opened = RolloutStore(default_url(str(tmp_path)))
    yield opened
    opened.close()


def canceled_while_it_waits(trigger: RolloutTrigger, *, message: str | None) -> bool:
    """Cancel a trigger in the middle of a check, as the triggerer does, and return whether it learns why."""
    entered, release = threading.Event(), threading.Event()
    original = trigger.observe

    def observe() -> Any:
        entered.set()
        release.wait(30)
        return original()

    trigger.observe = observe  # type: ignore[method-assign]
    trigger.poke_interval = 0.01

    async def run() -> bool:
        async def follow() -> list[TriggerEvent]:
            return [event async for event in trigger.run()]

        following = asyncio.create_task(follow())
        while not entered.is_set():
            await asyncio.sleep(0.01)
        following.cancel(message) if message else following.cancel()
        try:
            await following
        except asyncio.CancelledError as error:
            return error.args == (message,)
        finally:
            release.set()
        return False

    return asyncio.run(run())


def test_a_trigger_learns_of_a_cancellation_in_the_middle_of_a_check(local: RolloutStore) -> None:
    rollout = local.start("churn", canary(), task())
    trigger = RolloutTrigger(rollout_id=rollout.id)
    assert canceled_while_it_waits(trigger, message="user-action")
    assert not canceled_while_it_waits(RolloutTrigger(rollout_id=rollout.id), message=None)


@pytest.mark.parametrize("on_cancel", ["roll_back", "keep"])
def test_a_deferred_task_is_canceled_by_its_trigger(
    local: RolloutStore, states: dict[str, dict[str, str | None]], on_cancel: str
) -> None:
    rollout = local.start("churn", canary(on_cancel=on_cancel), task())
    trigger = RolloutTrigger(rollout_id=rollout.id)
    states["run-1"] = {"rollout": None}
    asyncio.run(trigger.on_kill())
    assert local.get(rollout.id).state.status == "running"
    states["run-1"] = {"rollout": "failed"}
    asyncio.run(trigger.on_kill())
    assert local.get(rollout.id).state.status == ("rolled_back" if on_cancel == "roll_back" else "running")


def test_a_waiting_task_is_canceled_by_its_worker(
    local: RolloutStore, states: dict[str, dict[str, str | None]], tmp_path: Path
) -> None:
    from airflow_provider_mlops.operators.rollout import RolloutOperator

    rollout = local.start("churn", canary(), task())
    operator = RolloutOperator(task_id="rollout", model={"name": "churn", "version": 2, "run_id": ""})
    # Before it runs, there is nothing to cancel.
    operator.on_kill()
    operator._context = context_of(rollout, operator)
    states["run-1"] = {"rollout": "running"}
    operator.on_kill()
    assert (local.get(rollout.id).state.status, operator._canceled) == ("running", None)
    states["run-1"] = {"rollout": "failed"}
    with pytest.raises(AirflowFailException, match=r"The task was marked as failed\."):
        operator.on_kill()
    assert local.get(rollout.id).state.status == "rolled_back"
    reports = partial(tmp_path.rglob, f"rollout-{rollout.id}.html")
    # On a busy machine, the thread that cancels needs more time than the signal handler waits.
    until = time.monotonic() + 60
    while not list(reports()) and time.monotonic() < until:
        time.sleep(0.05)
    report = next(reports()).read_text()
    assert "the task was marked as failed" in report
    assert 'http-equiv="refresh"' not in report


def test_a_task_that_is_canceled_while_it_starts_its_rollout_leaves_none_behind(
    local: RolloutStore, states: dict[str, dict[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_mlops.operators.rollout import RolloutOperator

    operator = RolloutOperator(task_id="rollout", model={"name": "churn", "version": 2, "run_id": ""})

    def advance(context: Any, asked: int | None) -> dict[str, Any]:
        states["run-1"] = {"rollout": "failed"}
        try:
            operator.on_kill()
        finally:
            # The signal came in the middle of this.
            local.start("churn", canary(), task())
        raise AssertionError("the task went on")

    monkeypatch.setattr(operator, "_advance", advance)
    with pytest.raises(AirflowFailException, match=r"The task was marked as failed\."):
        operator.execute(context_of(local.start("other", canary(), task()), operator))
    assert local.current("churn") is None
    assert next(iter(local.of_model("churn"))).state.status == "rolled_back"


def context_of(rollout: Rollout, operator: Any) -> Any:
    identity: TaskIdentity = rollout.started_by

    class Instance:
        dag_id, run_id, task_id = identity.dag_id, identity.run_id, identity.task_id
        map_index, try_number, max_tries = -1, 1, 0

    return {"ti": Instance(), "task": operator}


def test_each_check_of_a_trigger_counts_as_one_of_the_task(local: RolloutStore) -> None:
    rollout = local.start("churn", canary(unattended_timeout=0.01), task())
    before = read_attendances(local)[rollout.id]
    with pytest.raises(InvalidSpecError, match="mlflow_conn_id='nowhere'"):
        # There is no MLflow here; the check has counted before it is asked.
        RolloutTrigger(rollout_id=rollout.id, mlflow_conn_id="nowhere").observe()
    after = read_attendances(local)[rollout.id]
    assert after.at > before.at
    assert after.by == rollout.started_by.key


def test_a_check_comes_no_later_than_the_decision(local: RolloutStore) -> None:
    trigger = RolloutTrigger(rollout_id="any", poke_interval=30)
    assert trigger.seconds_to_next_check() == 30
    trigger._decides_at = datetime.now(UTC) + timedelta(seconds=5)
    assert 4 < trigger.seconds_to_next_check() <= 5
    trigger._decides_at = datetime.now(UTC) - timedelta(seconds=5)
    assert trigger.seconds_to_next_check() == 30
    assert NoRolloutTrigger(model_name="churn", poke_interval=7).seconds_to_next_check() == 7
