"""Who else may have a say in a rollout: another rollout, a deployment, a rollback, a human."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.data.storage import local_path
from airflow_provider_mlops.errors import (
    PromotionConflictError,
    RolloutConflictError,
)
from airflow_provider_mlops.lifecycle.rollback.spec import RollbackSpec
from airflow_provider_mlops.lifecycle.rollback.step import rollback
from airflow_provider_mlops.lifecycle.rollout import question
from airflow_provider_mlops.lifecycle.rollout.live_report import report_uri
from airflow_provider_mlops.lifecycle.rollout.look import look
from airflow_provider_mlops.registry import audit, promotion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import with_task
from tests.helpers.serving.live_rollouts import Killed, Rollouts
from tests.helpers.serving.live_versions import answers


def report_text(rollouts: Rollouts, rollout_id: str) -> str:
    """The sentences of the rollout's report."""
    rollout = rollouts.store.get(rollout_id)
    uri = report_uri(rollouts.versions.workspace.storage_uri, rollout)
    return html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", Path(local_path(uri)).read_text(), flags=re.S))


def test_two_rollouts_of_a_model_cannot_overlap(rollouts: Rollouts, caplog: pytest.LogCaptureFixture) -> None:
    begun = rollouts.run("r1")
    with pytest.raises(RolloutConflictError, match=f"is in progress: {begun.rollout_id}, started by churn/r1/rollout"):
        rollouts.run("r2", number=3)
    waiting = rollouts.run("r2", number=3, on_conflict="wait")
    assert (waiting.status, waiting.rollout_id) == ("waiting", None)
    rollouts.traffic.add(rollouts.current(), errors=150)
    rollouts.run("r1")
    after = rollouts.run("r2", number=3, on_conflict="wait")
    assert after.status == "running"
    assert rollouts.current().plan.candidates == (3,)


def test_a_champion_that_was_moved_meanwhile_ends_the_rollout(rollouts: Rollouts) -> None:
    begun = rollouts.run()
    task = rollouts.versions.workspace.task
    promotion.promote(rollouts.versions.registry, rollouts.versions[3], expected=1, by=task, reason="by hand")
    with pytest.raises(
        PromotionConflictError, match=r"was ended: version 3 is champion now instead of version 1 \(audit entry \d+ by "
    ):
        rollouts.run()
    state = rollouts.store.get(str(begun.rollout_id)).state
    assert (state.status, state.version, state.settled) == ("ended", 3, True)
    assert rollouts.versions.aliases()["champion"] == 3
    assert rollouts.store.current(rollouts.versions.name) is None


@pytest.mark.parametrize("to", [3, 2, None])
def test_an_alias_that_was_moved_by_hand_ends_the_rollout_and_stays(rollouts: Rollouts, to: int | None) -> None:
    """Whether a gateway or the task sees it first."""
    begun = rollouts.run()
    rollouts.traffic.add(rollouts.current())
    client, name = rollouts.versions.registry.client, rollouts.versions.name
    if to is None:
        client.delete_registered_model_alias(name, "champion")
    else:
        client.set_registered_model_alias(name, "champion", str(to))
    with pytest.raises(PromotionConflictError) as raised:
        rollouts.run()
    message = str(raised.value)
    # The gateway, or else the task.
    happened = {
        3: ("someone made version 3 the champion instead of version 1", "moved the alias champion from version 1 to v"),
        2: ("someone made version 2 the champion instead of version 1", "moved the alias champion from version 1 to v"),
        None: ("someone removed its alias or withdrew the version", "someone removed the alias champion by hand"),
    }[to]
    report = report_text(rollouts, str(begun.rollout_id))
    for text in (message, rollouts.store.get(str(begun.rollout_id)).state.reason, report):
        assert any(words in text for words in happened)
        # What they see is what happened, and not how it is stored.
        assert not any(name in text for name in ("candidates", "RolloutPlan", "pydantic", "champion=None"))
    assert ("Deploy version 2 with DeployModelOperator" in message) == (to == 2)
    state = rollouts.store.get(str(begun.rollout_id)).state
    assert (state.status, state.settled) == ("ended", True)
    assert rollouts.versions.aliases().get("champion") == to
    assert rollouts.trail() == []
    # The next one sets it back, as every deployment does: the audit trail says who is champion.
    assert rollouts.run("r2", number=3).status == "running"
    assert rollouts.versions.aliases()["champion"] == 1


def test_a_champion_that_is_moved_between_decision_and_promotion_stays(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = rollouts.run(strategy={"kind": "canary", "steps": [0.5]})
    rollouts.traffic.add(rollouts.current())
    original = promotion.promote

    def promote(*arguments: Any, **keywords: Any) -> audit.AuditEntry:
        monkeypatch.setattr(promotion, "promote", original)
        task = rollouts.versions.workspace.task
        original(rollouts.versions.registry, rollouts.versions[3], expected=1, by=task, reason="by hand")
        return original(*arguments, **keywords)

    monkeypatch.setattr(promotion, "promote", promote)
    with pytest.raises(PromotionConflictError, match="the champion is version 3"):
        rollouts.run()
    assert rollouts.store.get(str(begun.rollout_id)).state.version == 3
    assert rollouts.versions.aliases() == {"champion": 3, "previous": 1}


def test_a_deployment_during_a_rollout_is_refused_or_ends_it(rollouts: Rollouts, gateway: LiveGateway) -> None:
    begun = rollouts.run(strategy={"kind": "canary", "steps": [0.9]})
    with pytest.raises(RolloutConflictError, match="is in progress"):
        rollouts.versions.deploy(3)
    assert rollouts.versions.aliases() == {"champion": 1}
    gateway.wait(lambda: answers(gateway, rollouts.versions.name) == 2, seconds=10)
    rollouts.versions.deploy(3, run_id="over it", check_champion=False)
    assert {answers(gateway, rollouts.versions.name) for _ in range(20)} == {3}
    with pytest.raises(PromotionConflictError, match=r"churn/over it/deploy deployed version 3"):
        rollouts.run()
    assert rollouts.store.get(str(begun.rollout_id)).state.settled


def test_a_rollback_during_a_rollout_takes_that_back(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts.versions.deploy(3)
    name, workspace = rollouts.versions.name, with_task(rollouts.versions.workspace, "rollback", "b1")
    begun = rollouts.run()
    with monkeypatch.context() as patched:
        patched.setattr(promotion, "keep", _killed)
        with pytest.raises(Killed):
            rollback(RollbackSpec(model_name=name), workspace)
    back = rollback(RollbackSpec(model_name=name, reason="complaints"), workspace)
    assert (back.deployment.version, back.deployment.previous_version) == (3, 1)
    over = rollouts.run()
    assert (over.status, over.rollout_id, over.deployment) == ("rolled_back", begun.rollout_id, back.deployment)
    assert rollback(RollbackSpec(model_name=name), workspace) == back
    assert rollouts.versions.trail() == [("promote", None, 1), ("promote", 1, 3), ("keep", 3, 3)]
    # Of a champion that is named, the champion is taken back, and the rollout beside it has nothing to compare with.
    rollouts.run("r2")
    named = with_task(workspace, "rollback", "b2")
    assert rollback(RollbackSpec(model_name=name, expected_champion=3), named).deployment.version == 1
    with pytest.raises(PromotionConflictError, match=r"b2/rollback rolled back to version 1"):
        rollouts.run("r2")


def _killed(*arguments: object, **keywords: object) -> None:
    raise Killed


def later(rollouts: Rollouts, hours: float) -> Rollout:
    """Look at the present rollout as if so much time had passed."""
    moment = datetime.now(UTC) + timedelta(hours=hours)
    workspace = with_task(rollouts.versions.workspace, "rollout", "r1")
    return look(workspace, rollouts.store, rollouts.current(), moment)


def test_a_human_lets_a_step_go_on_and_is_asked_again_in_the_next(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decision_timeout=3600, min_requests=10**6)
    rollouts.traffic.add(rollouts.current(), requests=3)
    held = later(rollouts, 2)
    assert question.is_asked(held)
    # The text of the first question stays for all later ones, so it has nothing that could be old by then.
    text = question.body(held, "http://airflow/report")
    assert "[report of the rollout](http://airflow/report)" in text
    assert "step 1" not in text
    assert "too few requests" not in text
    question.answer(rollouts.store, held.id, question.CONTINUE, "ada")
    second = later(rollouts, 0)
    assert (second.state.status, second.state.step) == ("running", 1)
    assert "Approved by ada: answered 'Continue'" in second.state.reason
    # The answer counts for one step; a late one changes nothing.
    question.answer(rollouts.store, held.id, question.CONTINUE, "ada")
    assert rollouts.current().state.status == "running"
    assert question.is_asked(later(rollouts, 2))
    question.answer(rollouts.store, held.id, question.ROLL_BACK, "bob")
    over = rollouts.run()
    assert (over.status, rollouts.trail()[0].reason.partition(":")[0]) == ("rolled_back", "bob")


def test_who_waits_for_evidence_is_asked_again_after_as_long(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decision_timeout=3600, min_requests=10**6)
    held = later(rollouts, 5)
    moment = datetime.now(UTC) + timedelta(hours=5.5)
    question.answer(rollouts.store, held.id, question.WAIT, "ada", moment)
    assert later(rollouts, 6).state.status == "running"
    assert question.is_asked(later(rollouts, 7))


def test_a_human_s_rollback_is_never_too_late(rollouts: Rollouts) -> None:
    begun = rollouts.run(on_inconclusive="ask")
    question.answer(rollouts.store, str(begun.rollout_id), question.ROLL_BACK, "ada")
    over = rollouts.run()
    assert (over.status, over.rollout_id) == ("rolled_back", begun.rollout_id)
    question.answer(rollouts.store, str(begun.rollout_id), question.CONTINUE, "ada")
    assert rollouts.store.get(str(begun.rollout_id)).state.status == "rolled_back"


def test_what_becomes_worse_while_a_human_is_asked_is_rolled_back(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decision_timeout=3600, min_requests=10**6)
    assert question.is_asked(later(rollouts, 2))
    rollouts.traffic.add(rollouts.current(), errors=150)
    assert rollouts.run().status == "rolled_back"
