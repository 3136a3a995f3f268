"""A human answers a rollout's question through Airflow's own API, as its UI does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from airflow import __version__ as airflow_version
from airflow.sdk import DAG
from packaging.version import Version

from airflow_provider_mlops.lifecycle.rollout.question import CONTINUE, ROLL_BACK
from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.triggers.rollout import RolloutTrigger
from tests.helpers.airflow.api_server import token_of
from tests.helpers.rollout_evidence import Traffic
from tests.helpers.serving.live_versions import Versions

pytestmark = pytest.mark.skipif(
    Version(airflow_version) < Version("3.1.1"), reason="dag.test() of Airflow 3.1.0 carries no question of a task"
)


class Human:
    """Answers the questions of a task instance in their order, and remembers how they were put."""

    def __init__(self, api: Any, *answers: str) -> None:
        self._api = api
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def answer(self, ti: Any) -> None:
        run = f"/api/v2/dags/{ti.dag_id}/dagRuns/{quote(ti.run_id)}"
        address = f"{run}/taskInstances/{ti.task_id}/-1/hitlDetails"
        headers = {"Authorization": f"Bearer {token_of('admin')}"}
        question = self._api.get(address, headers=headers)
        assert question.status_code == 200, question.text
        self.asked.append(question.json())
        assert not self.asked[-1]["response_received"]
        chosen = {"chosen_options": [self._answers.pop(0)], "params_input": {}}
        answered = self._api.patch(address, json=chosen, headers=headers)
        assert answered.status_code == 200, answered.text


@pytest.fixture
def triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the triggerer does for a trigger and `dag.test()` does not: ask the API server for an answer."""
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    original = InProcessTestSupervisor._handle_request

    def handle(self: Any, message: Any, log: Any, request: int) -> None:
        if isinstance(message, GetHITLDetailResponse):
            self.send_msg(self.client.hitl.get_detail_response(message.ti_id), request)
        else:
            original(self, message, log, request)

    monkeypatch.setattr(InProcessTestSupervisor, "_handle_request", handle)


def set_deferred(ti: Any) -> None:
    """The task instance in the database as the scheduler leaves one that waits for its trigger."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.get(TaskInstance, ti.id)
        row.state, row.next_method, row.next_kwargs = "deferred", "resume", {}


def resumed_with(ti: Any) -> dict[str, Any] | None:
    """The event with which the API server lets the task resume; None before Airflow 3.3, where the trigger does."""
    if Version(airflow_version) < Version("3.3"):
        return None
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk.serde import deserialize
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.get(TaskInstance, ti.id)
        assert row.state == "scheduled"
        event: dict[str, Any] = deserialize(row.next_kwargs)["event"]
    return event


def asking(dag_id: str, model: Any, operator: type[RolloutOperator]) -> DAG:
    """A rollout that asks after half a second without evidence."""
    with DAG(dag_id=dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        operator(
            task_id="rollout",
            model=model,
            strategy={"kind": "canary", "steps": [0.5, 1.0]},
            on_inconclusive="ask",
            bake_time=0,
            decision_timeout=0.5,
            check_interval=0.1,
            hard_limits=None,
        )
    return built


def test_a_human_lets_one_step_go_on_and_takes_back_the_next(
    run_dag, api_server, triggerer, base, trained, store, monkeypatch
):
    from airflow.sdk.definitions import dag as dag_module
    from airflow.triggers.base import TriggerEvent

    versions = Versions(base, trained, "asked")
    versions.deploy(1, run_id="asked")
    human = Human(api_server, CONTINUE, ROLL_BACK)
    run_trigger = dag_module._run_inline_trigger

    def inline(trigger: Any, ti: Any) -> Any:
        if isinstance(trigger, RolloutTrigger) and trigger.question:
            assert trigger.question == str(ti.id)
            first = not human.asked
            if first:
                set_deferred(ti)
            human.answer(ti)
            if first and (event := resumed_with(ti)) is not None:
                return TriggerEvent(event)
        return run_trigger(trigger, ti)

    monkeypatch.setattr(dag_module, "_run_inline_trigger", inline)
    ran = run_dag(asking("asked", versions[2], RolloutOperator))
    assert ran.states() == {"rollout": "success"}
    first, second = human.asked
    assert first["options"] == ["Continue", "Wait for more evidence", "Roll back"]
    assert "rollout of asked, version 2" in first["subject"]
    assert (second["options"], second["body"]) == (first["options"], first["body"])
    # Airflow keeps the text of the first question, so it has nothing that changes, but says where that is.
    assert "/mlops/files/asked/reports/asked/" in first["body"]
    assert "step 1" not in first["body"]
    assert "%" not in first["body"]

    found = ran.xcoms("rollout")
    assert (found["status"], found["step"]) == ("rolled_back", 1)
    history = store.history(found["rollout_id"])
    assert [(state.status, state.step) for state in history] == [
        ("running", 0),
        ("held", 0),
        ("running", 0),
        ("running", 1),
        ("held", 1),
        ("rolled_back", 1),
        ("rolled_back", 1),
    ]
    assert [history[place].changed_by for place in (2, 5)] == ["ada", "ada"]
    assert history[5].reason.startswith("answered 'Roll back' to: no decision within 1 second")
    assert versions.trail()[-1] == ("keep", 1, 1)


def test_without_an_answer_the_evidence_decides(run_dag, triggerer, base, trained, store, tmp_path):
    versions = Versions(base, trained, "unanswered")
    versions.deploy(1, run_id="unanswered")
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.05):
            found = store.current("unanswered")
            if found is not None and found.state.status == "held":
                Traffic(tmp_path, store).add(found, errors=150)
                return

    thread = threading.Thread(target=follow)
    thread.start()
    with DAG(dag_id="unanswered", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        RolloutOperator(
            task_id="rollout",
            model=versions[2],
            on_inconclusive="ask",
            bake_time=0,
            decision_timeout=0.5,
            check_interval=0.1,
            hard_limits=None,
        )
    ran = run_dag(built)
    over.set()
    thread.join(30)
    assert ran.states() == {"rollout": "success"}
    assert ran.xcoms("rollout")["status"] == "rolled_back"
    assert "held" in [state.status for state in store.history(ran.xcoms("rollout")["rollout_id"])]


class RestartedOperator(RolloutOperator):
    """A task that Airflow starts again while its question is open."""

    def resume(self, context: Any, event: Any, asked: int | None = None) -> dict[str, Any]:
        return self.execute(context) if event == "restart" else super().resume(context, event, asked)


def test_an_answer_that_comes_while_the_task_starts_again_is_kept(
    run_dag, api_server, triggerer, base, trained, store, monkeypatch
):
    from airflow.sdk.definitions import dag as dag_module
    from airflow.triggers.base import TriggerEvent

    versions = Versions(base, trained, "restarted")
    versions.deploy(1, run_id="restarted")
    human = Human(api_server, ROLL_BACK)
    run_trigger = dag_module._run_inline_trigger

    def inline(trigger: Any, ti: Any) -> Any:
        if isinstance(trigger, RolloutTrigger) and trigger.question and not human.asked:
            human.answer(ti)
            return TriggerEvent("restart")
        return run_trigger(trigger, ti)

    monkeypatch.setattr(dag_module, "_run_inline_trigger", inline)
    ran = run_dag(asking("restarted", versions[2], RestartedOperator))
    assert ran.states() == {"rollout": "success"}
    found = ran.xcoms("rollout")
    assert found["status"] == "rolled_back"
    assert store.history(found["rollout_id"])[-1].reason.startswith("answered 'Roll back'")
