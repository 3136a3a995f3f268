"""The rollout in a real Airflow: it defers, resumes and ends, with a real gateway and made-up evidence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout import look as rollout_look
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.triggers.rollout import NoRolloutTrigger, RolloutTrigger
from tests.helpers.airflow.session import roundtrip
from tests.helpers.rollout_evidence import Traffic
from tests.helpers.serving.live_versions import Versions

TERMS: dict[str, Any] = {
    "bake_time": 0,
    "min_requests": 1,
    "gates": [{"kind": "error_rate", "margin": 0.2}],
    "hard_limits": None,
    "check_interval": 0.1,
}


@pytest.fixture
def made(base: Workspace, trained: Any) -> Callable[[str], Versions]:
    """A function that makes a model whose version 1 is champion."""

    def make(name: str) -> Versions:
        versions = Versions(base, trained, name)
        versions.deploy(1, run_id=name)
        return versions

    return make


@pytest.fixture
def meanwhile(store: RolloutStore) -> Iterator[Callable[..., None]]:
    """A function that does something once to each step of a model's rollout while the DAG runs."""
    over, threads = threading.Event(), []

    def watch(model: str, do: Callable[[Rollout], Any]) -> None:
        def follow() -> None:
            done = set()
            while not over.wait(0.05):
                found = store.current(model)
                if (
                    found is not None
                    and found.state.is_in_progress
                    and (key := (found.id, found.state.step)) not in done
                ):
                    done.add(key)
                    do(found)

        threads.append(threading.Thread(target=follow))
        threads[-1].start()

    yield watch
    over.set()
    for thread in threads:
        thread.join(30)


def dag(name: str, **options: Any) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **options)


def test_a_canary_is_promoted(run_dag, store, made, meanwhile, tmp_path):
    versions = made("canary")
    traffic = Traffic(tmp_path, store)
    meanwhile("canary", traffic.add)
    with dag("canary", params={"strategy": "canary"}) as built:
        RolloutOperator(
            task_id="rollout",
            model={"name": "canary", "version": "{{ 1 + 1 }}", "run_id": ""},
            strategy={"kind": "{{ params.strategy }}", "steps": [0.5, 1.0]},
            reason="{{ dag.dag_id }}",
            **TERMS,
        )
    ran = run_dag(built)
    assert ran.states() == {"rollout": "success"}
    found = ran.xcoms("rollout")
    assert (found["status"], found["version"], found["step"]) == ("promoted", 2, 1)
    assert found["findings"][0]["verdict"] == "better"
    assert (found["deployment"]["version"], found["deployment"]["previous_version"]) == (2, 1)
    assert sum(len(json.dumps(value)) for value in found.values()) <= 16 * 1024
    assert versions.aliases() == {"champion": 2, "previous": 1}
    assert [state.step for state in store.history(found["rollout_id"])] == [0, 1, 1, 1]
    events = dict(ran.asset_events())
    assert events["mlops://models/canary/aliases/champion"]["to"] == 2
    assert events["mlops://models/canary/aliases/previous"]["to"] == 1
    over = events["mlops://models/canary/rollouts/promoted"]
    assert (over["rollout_id"], over["candidate"], over["task_id"]) == (found["rollout_id"], 2, "rollout")


def test_a_failed_gate_rolls_back_and_the_task_ends_as_it_was_told(run_dag, store, made, meanwhile, tmp_path):
    names = ("skip", "fail", "succeed")
    traffic = Traffic(tmp_path, store)
    with dag("gates") as built:

        @task
        def after() -> None:
            """What comes next."""

        for name in names:
            versions = made(name)
            meanwhile(name, lambda found: traffic.add(found, errors=150))
            rollout = RolloutOperator(
                task_id=name, model=versions[2], on_rollback=name, retries=2, retry_delay=timedelta(0), **TERMS
            )
            rollout >> after.override(task_id=f"after_{name}")()
    ran = run_dag(built)
    assert ran.states() == {
        "skip": "success",
        "after_skip": "skipped",
        "fail": "failed",
        "after_fail": "upstream_failed",
        "succeed": "success",
        "after_succeed": "success",
    }
    assert ran.task("fail").try_number == 1
    for name in names:
        found = ran.xcoms(name)
        assert (found["status"], found["version"], found["deployment"]["version"]) == ("rolled_back", 1, 1)
        assert found["findings"][0]["verdict"] == "worse"
    over = {uri for uri, _ in ran.asset_events()}
    assert over == {"mlops://models/skip/rollouts/rolled_back", "mlops://models/succeed/rollouts/rolled_back"}


def test_what_a_gateway_rolls_back_by_itself_ends_the_task(run_dag, store, made, meanwhile):
    versions = made("limit")

    def enforce(found: Rollout) -> None:
        now = datetime.now(UTC)
        back = transitions.rolled_back(found.plan, found.state, now, "gateway 7", "12 of 20 requests failed")
        store.compare_and_set(found, back)

    meanwhile("limit", enforce)
    with dag("limit") as built:
        RolloutOperator(task_id="rollout", model=versions[2], **{**TERMS, "bake_time": 600})
    ran = run_dag(built)
    assert ran.states() == {"rollout": "success"}
    assert ran.xcoms("rollout")["status"] == "rolled_back"
    ((uri, event),) = ran.asset_events()
    assert (uri, event["reason"]) == ("mlops://models/limit/rollouts/rolled_back", "12 of 20 requests failed")
    assert versions.trail()[-1] == ("keep", 1, 1)


def test_a_retry_joins_the_running_rollout(run_dag, store, made, meanwhile, tmp_path, monkeypatch):
    versions = made("retried")
    meanwhile("retried", Traffic(tmp_path, store).add)
    original, calls = rollout_look.look, []

    def look(*arguments: Any) -> Rollout:
        calls.append(arguments)
        if len(calls) == 1:
            raise BackendUnavailableError("MLflow", "there", "start it")
        return original(*arguments)

    monkeypatch.setattr(rollout_look, "look", look)
    with dag("retried") as built:
        RolloutOperator(
            task_id="rollout",
            model=versions[2],
            strategy={"kind": "canary", "steps": [0.5, 1.0]},
            retries=1,
            retry_delay=timedelta(0),
            **TERMS,
        )
    ran = run_dag(built)
    assert (ran.states(), ran.task("rollout").try_number) == ({"rollout": "success"}, 2)
    assert [found.id for found in store.of_model("retried")] == [ran.xcoms("rollout")["rollout_id"]]
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2)]


def test_a_retry_tells_the_end_of_the_rollout_and_a_cleared_task_begins_another(
    run_dag, store, made, meanwhile, tmp_path, monkeypatch
):
    versions = made("died")
    traffic = Traffic(tmp_path, store)
    meanwhile("died", lambda found: traffic.add(found, errors=150))
    original, ends = RolloutOperator.finish, []

    def finish(operator: RolloutOperator, *arguments: Any) -> Any:
        ends.append(arguments[-1])
        if len(ends) == 1:
            raise RuntimeError("the worker dies after the rollout was settled, and before Airflow knows")
        return original(operator, *arguments)

    monkeypatch.setattr(RolloutOperator, "finish", finish)
    with dag("died") as built:
        RolloutOperator(task_id="rollout", model=versions[2], retries=2, retry_delay=timedelta(0), **TERMS)
    ran = run_dag(built)
    assert (ran.states(), ran.task("rollout").try_number) == ({"rollout": "success"}, 2)
    assert ends[0] == ends[1]
    assert ran.xcoms("rollout")["return_value"] == ends[0].model_dump(mode="json")
    assert [found.id for found in store.of_model("died")] == [ends[0].rollout_id]
    assert versions.trail() == [("promote", None, 1), ("keep", 1, 1)]
    assert [uri for uri, _ in ran.asset_events()] == ["mlops://models/died/rollouts/rolled_back"]
    ran.clear(built, "rollout")
    assert (ran.states(), ran.task("rollout").try_number) == ({"rollout": "success"}, 3)
    assert len(store.of_model("died")) == 2
    assert ran.xcoms("rollout")["rollout_id"] == store.of_model("died")[0].id
    assert versions.trail()[2:] == [("keep", 1, 1)]


def begun_by_another(store: RolloutStore, model: str) -> Rollout:
    plan = RolloutPlan(champion=1, candidates=(3,))
    return store.start(model, plan, TaskIdentity(dag_id="other", run_id="r1", task_id="rollout"))


def test_a_second_rollout_fails_or_waits_as_it_was_told(run_dag, store, made, meanwhile, tmp_path):
    versions = made("second")
    other = begun_by_another(store, "second")
    traffic = Traffic(tmp_path, store)
    refused = threading.Event()
    with dag("second") as built:
        terms = {**TERMS, "strategy": {"kind": "canary", "steps": [0.5]}}
        failing = RolloutOperator(
            task_id="failing",
            model=versions[2],
            retries=2,
            retry_delay=timedelta(0),
            on_failure_callback=lambda context: refused.set(),
            **terms,
        )
        waiting = RolloutOperator(
            task_id="waiting", model=versions[2], on_conflict="wait", trigger_rule="all_done", **terms
        )
        failing >> waiting

    def proceed(found: Rollout) -> None:
        if found.id != other.id:
            traffic.add(found)
            return
        # The second task is then about to start, and has to wait for a moment.
        assert refused.wait(120)
        time.sleep(3)
        over = transitions.ended(found.plan, found.state, datetime.now(UTC), "somebody", "enough seen")
        store.compare_and_set(found, over)

    meanwhile("second", proceed)
    ran = run_dag(built)
    assert ran.states() == {"failing": "failed", "waiting": "success"}
    assert ran.task("failing").try_number == 1
    assert ran.xcoms("waiting")["status"] == "promoted"
    assert [found.state.status for found in store.of_model("second")] == ["promoted", "ended"]


def test_it_can_wait_in_the_worker(run_dag, store, made, meanwhile, tmp_path, monkeypatch):
    versions = made("worker")
    meanwhile("worker", Traffic(tmp_path, store).add)
    monkeypatch.setattr(RolloutOperator, "defer", None)
    with dag("worker") as built:
        RolloutOperator(
            task_id="rollout",
            model=versions[2],
            strategy={"kind": "canary", "steps": [0.5, 1.0]},
            deferrable=False,
            **TERMS,
        )
    ran = run_dag(built)
    assert ran.states() == {"rollout": "success"}
    assert ran.xcoms("rollout")["status"] == "promoted"


def test_wrong_fields_fail_when_the_dag_is_parsed():
    model = {"name": "churn", "version": 2, "run_id": ""}
    wrong: dict[str, dict[str, Any]] = {
        "strategy.kind": {"strategy": "cannary"},
        "gates.0.kind": {"gates": ["latencies"]},
        "reward": {"strategy": "ab"},
        "on_rollback": {"on_rollback": "cry"},
        "decide_withn": {"decide_withn": 3},
    }
    for named, fields in wrong.items():
        with pytest.raises(InvalidSpecError) as caught, dag("wrong"):
            RolloutOperator(task_id="rollout", model=model, **fields)
        assert caught.value.field == named
    with dag("right"):
        made = RolloutOperator(task_id="rollout", model=model, strategy="shadow", gates=["error_rate", "agreement"])
    assert made.spec().strategy.kind == "shadow"
    assert "on_inconclusive" in made.template_fields
    assert "deferrable" not in made.template_fields


def test_the_triggers_survive_a_restart_and_hold_no_secret(storage, store, made, monkeypatch):
    made("restart")
    secret = f"sqlite:///{storage}/rollouts.db?"
    monkeypatch.setenv("AIRFLOW__MLOPS__ROLLOUT_STORE_URL", secret)
    free = roundtrip(NoRolloutTrigger(model_name="restart", poke_interval=0.1))
    assert free.check() == {"why": "no rollout of restart is in progress"}
    other = begun_by_another(store, "restart")
    assert free.check() is None
    trigger = roundtrip(RolloutTrigger(rollout_id=other.id, poke_interval=0.1))
    assert secret not in str(trigger.serialize())
    assert trigger.check() is None
    monkeypatch.setenv("AIRFLOW__MLOPS__ROLLOUT_STORE_URL", "postgresql+psycopg://127.0.0.1:1/none")
    with pytest.raises(BackendUnavailableError):
        trigger.check()
    monkeypatch.setenv("AIRFLOW__MLOPS__ROLLOUT_STORE_URL", secret)
    store.compare_and_set(other, transitions.ended(other.plan, other.state, datetime.now(UTC), "somebody", "enough"))
    assert trigger.check() == {"why": "the rollout is ended: enough"}
