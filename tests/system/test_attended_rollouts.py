"""Rollouts whose tasks are marked, cleared, deleted, paused and killed, under a real scheduler and triggerer."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_provider_mlops.registry import models
from demo.airflow_api import AirflowApi
from demo.stack import Stack
from tests.helpers.attended_rollouts import AttendedRollout, AttendedRollouts, wait_for

DEFERRED, WAITING, ONCE, PAUSED, DELETED = (
    f"attended_{name}" for name in ("deferred", "waiting", "once", "paused", "deleted")
)
# Each of the slow ones takes a minute or more; tests/operators/rollout/ has a quick one of each kind.
pytestmark = pytest.mark.timeout(900)
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def site(stack: Stack, airflow: AirflowApi) -> Iterator[AttendedRollouts]:
    found = AttendedRollouts(stack, airflow)
    with contextlib.closing(found):
        yield found


def rolled_back_by_the_task(rollout: AttendedRollout, why: str) -> None:
    state = rollout.wait_for_status("rolled_back")
    assert state.reason == f"the task {why}"
    wait_for(lambda: rollout.rollout().state.settled, "the rollout is settled")
    assert rollout.actions() == ["keep"]
    assert f"{why}: rolled back rollout {rollout.id}" in rollout.log()


def goes_on(rollout: AttendedRollout, checks: int = 2) -> None:
    """The task has rejoined its rollout, and checks it."""
    rollout.wait_for_checks(checks)
    assert rollout.rollout().state.status == "running"
    assert rollout.rollouts() == [rollout.id]
    assert rollout.actions() == []


WANTED: dict[str, tuple[str, dict[str, Any]]] = {
    "failed": (DEFERRED, {}),
    "succeeded": (DEFERRED, {"on_cancel": "keep"}),
    "run-deleted": (DEFERRED, {}),
    "dag-deleted": (DELETED, {}),
    "cleared": (DEFERRED, {}),
    "retried": (DEFERRED, {"fails_first": True}),
    # No step ever has so many requests.
    "asked": (DEFERRED, {"on_inconclusive": "ask", "bake_time": 0, "decision_timeout": 15, "min_requests": 10**6}),
    "promoted": (DEFERRED, {}),
    "worker-lost": (ONCE, {"unattended_timeout": 30}),
}


class Started(dict[str, AttendedRollout]):
    """The rollouts of this module by name, each started when it is first asked for."""

    def __init__(self, site: AttendedRollouts) -> None:
        super().__init__()
        self._site = site

    def __missing__(self, name: str) -> AttendedRollout:
        dag_id, params = WANTED[name]
        self[name] = self._site.start(name, dag_id, **params)
        # What happens to a task in the moment before it is deferred is noticed only by `unattended_timeout`.
        return self[name].wait_for_start("running" if dag_id == ONCE else "deferred")


@pytest.fixture(scope="module")
def started(site: AttendedRollouts) -> Started:
    return Started(site)


def test_a_task_marked_as_failed_rolls_its_rollout_back(started: dict[str, AttendedRollout]) -> None:
    started["failed"].mark("failed")
    rolled_back_by_the_task(started["failed"], "was marked as failed")


@slow
def test_what_on_cancel_keeps_is_stopped_by_the_command_in_the_log(
    site: AttendedRollouts, started: dict[str, AttendedRollout]
) -> None:
    rollout = started["succeeded"]
    rollout.mark("success")
    wait_for(lambda: "because on_cancel is 'keep'" in rollout.log(), "the log says that the rollout continues")
    assert rollout.rollout().state.status == "running"
    line = next(line for line in rollout.log().splitlines() if "because on_cancel is 'keep'" in line)
    assert '"level":"error"' in line.replace(" ", "")
    assert "The gateways roll it back after 10 minutes without a check" in line
    command = re.search(r"To stop it now, run: (airflow-mlops .*?)\. To check", line)
    assert command is not None
    words = shlex.split(command[1].encode().decode("unicode_escape"))
    program = str(Path(sys.executable).parent / words[0])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}
    done = subprocess.run([program, *words[1:]], env=clean, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert rollout.rollout().state.status == "rolled_back"
    assert rollout.actions() == ["keep"]


@slow
def test_a_deleted_run_rolls_its_rollout_back(site: AttendedRollouts, started: dict[str, AttendedRollout]) -> None:
    rollout = started["run-deleted"]
    # Airflow deletes no run that is still running: a user marks it first.
    site.airflow.patch(rollout.path, {"state": "failed"})
    site.airflow.delete(rollout.path)
    state = rollout.wait_for_status("rolled_back")
    assert state.reason in ("the task was marked as failed", "the task was deleted with its run or DAG")


@slow
def test_a_deleted_dag_rolls_its_rollout_back(site: AttendedRollouts, started: dict[str, AttendedRollout]) -> None:
    rollout = started["dag-deleted"]
    site.airflow.delete(f"/dags/{DELETED}")
    state = rollout.wait_for_status("rolled_back")
    assert state.reason == "the task was deleted with its run or DAG"


@slow
def test_a_cleared_task_rejoins_its_rollout(started: dict[str, AttendedRollout]) -> None:
    rollout = started["cleared"]
    rollout.clear()
    wait_for(lambda: rollout.task()["try_number"] == 2, "the task has a second try")
    rollout.wait_for_task("deferred")
    goes_on(rollout)


@slow
def test_a_retry_rejoins_its_rollout(started: dict[str, AttendedRollout]) -> None:
    wait_for(lambda: started["retried"].task()["try_number"] == 2, "the task has a second try")
    started["retried"].wait_for_task("deferred")
    goes_on(started["retried"])


@slow
def test_a_dag_that_is_paused_leaves_its_rollout_to_the_gateways(site: AttendedRollouts) -> None:
    rollout = site.start("dag-paused", PAUSED, bake_time=45, unattended_timeout=30).wait_for_start("deferred")
    site.airflow.patch(f"/dags/{PAUSED}", {"is_paused": True})
    state = rollout.wait_for_status("rolled_back")
    assert "no one has checked the rollout for 30 seconds" in state.reason
    assert state.changed_by.startswith("gateway ")
    site.airflow.patch(f"/dags/{PAUSED}", {"is_paused": False})
    rollout.wait_for_task("success")
    assert rollout.xcom("status") == "rolled_back"
    assert rollout.actions() == ["keep"]
    assert set(rollout.links()) >= {"Report", "Rolled back"}


@slow
def test_an_open_question_counts_as_a_check_and_has_no_numbers(
    site: AttendedRollouts, started: dict[str, AttendedRollout]
) -> None:
    rollout = started["asked"]
    details = f"{rollout.path}/taskInstances/rollout/-1/hitlDetails"
    asked = wait_for(lambda: rollout.rollout().state.status == "held" and site.airflow.get(details), "a user is asked")
    assert "report of the rollout" in asked["body"]
    assert "wait for another" not in asked["body"]
    assert "for another 15 seconds from your answer" in asked["body"]
    rollout.wait_for_checks(3)
    assert rollout.rollout().state.status == "held"
    site.airflow.patch(details, {"chosen_options": ["Wait for more evidence"], "params_input": {}})
    waiting = wait_for(lambda: state if (state := rollout.rollout().state).extensions else None, "the answer counts")
    assert waiting.status == "running"
    again = rollout.wait_for_status("held")
    # What was said is what was done, apart from the time that Airflow takes to start the task.
    assert again.reason.startswith("no decision within another 15 seconds: too few requests")
    assert (again.changed_at - waiting.changed_at).total_seconds() >= 15
    second = wait_for(
        lambda: found if not (found := site.airflow.get(details))["response_received"] else None,
        "the user is asked again",
    )
    assert second["body"] == asked["body"]
    site.airflow.patch(details, {"chosen_options": ["Roll back"], "params_input": {}})
    rollout.wait_for_status("rolled_back")
    rollout.wait_for_task("success")


@slow
def test_a_rollout_is_paused_resumed_and_promoted_at_the_command_line(
    site: AttendedRollouts, started: dict[str, AttendedRollout]
) -> None:
    rollout = started["promoted"]
    listed = site.command("rollouts", "--model", rollout.model)
    assert rollout.id in listed.stdout
    assert f"{DEFERRED}/{rollout.run_id}/rollout" in listed.stdout
    assert "Report" in rollout.links()
    assert '<meta http-equiv="refresh"' in rollout.report()
    for action in ("pause", "resume"):
        done = site.command("rollouts", action, rollout.id, "--reason", "a review")
        assert done.returncode == 0, done.stderr
        rollout.wait_for_checks()
        assert rollout.rollout().state.is_paused == (action == "pause")
    done = site.command("rollouts", "promote", rollout.id, "--reason", "the review is over")
    assert done.returncode == 0, done.stderr
    rollout.wait_for_task("success")
    assert models.aliases(site.registry, rollout.model) == {"champion": 2, "previous": 1}
    assert rollout.actions() == ["pause", "resume", "promote"]
    assert (rollout.xcom("status"), rollout.xcom("version")) == ("promoted", 2)
    assert set(rollout.links()) >= {"Report", "Promoted"}
    assert '<meta http-equiv="refresh"' not in rollout.report()
    assert rollout.task()["rendered_map_index"] == "promoted"
    printed = site.command("audit", rollout.model)
    assert "the review is over" in printed.stdout


@slow
def test_a_restarted_triggerer_and_scheduler_rejoin(site: AttendedRollouts) -> None:
    rollout = site.start("restarted", DEFERRED).wait_for_start("deferred")
    for component in ("triggerer", "scheduler"):
        site.restart(component)
        goes_on(rollout)
    rollout.mark("failed")
    rolled_back_by_the_task(rollout, "was marked as failed")


@slow
def test_a_waiting_task_that_is_marked_as_failed_rolls_its_rollout_back(site: AttendedRollouts) -> None:
    rollout = site.start("waiting-failed", WAITING).wait_for_start("running")
    rollout.wait_for_checks(1)
    rollout.mark("failed")
    rolled_back_by_the_task(rollout, "was marked as failed")


@slow
def test_a_killed_worker_rejoins(site: AttendedRollouts) -> None:
    rollout = site.start("waiting-killed", WAITING).wait_for_start("running")
    rollout.wait_for_checks(1)
    os.kill(rollout.task()["pid"], signal.SIGKILL)
    wait_for(lambda: rollout.task()["try_number"] == 2, "the task has a second try")
    rollout.wait_for_task("running")
    goes_on(rollout)
    rollout.mark("failed")
    rolled_back_by_the_task(rollout, "was marked as failed")


@slow
def test_a_worker_that_dies_for_good_leaves_its_rollout_to_the_gateways(
    started: dict[str, AttendedRollout],
) -> None:
    os.kill(started["worker-lost"].task()["pid"], signal.SIGKILL)
    state = started["worker-lost"].wait_for_status("rolled_back")
    assert "no one has checked the rollout for 30 seconds" in state.reason
    started["worker-lost"].wait_for_task("failed")


@slow
@pytest.mark.timeout(3600)
def test_twenty_kills_end_no_rollout(site: AttendedRollouts) -> None:
    random = Random(20261201)
    # Longer than Airflow needs to miss a worker whose scheduler was killed as well.
    deferred = site.start("killed-deferred", DEFERRED, unattended_timeout=200).wait_for_start("deferred")
    waiting = site.start("killed-waiting", WAITING, unattended_timeout=200).wait_for_start("running")
    components = random.sample(["scheduler", "triggerer", "worker"] * 7, 20)
    for component in components:
        time.sleep(random.uniform(0, 3))
        if component == "worker":
            os.kill(waiting.wait_for_task("running")["pid"], signal.SIGKILL)
        else:
            site.restart(component, signal.SIGKILL)
        goes_on(deferred, 1)
        goes_on(waiting, 1)
    assert waiting.task()["try_number"] > components.count("worker")
    for rollout in (deferred, waiting):
        rollout.mark("failed")
        rolled_back_by_the_task(rollout, "was marked as failed")
