"""Rollouts from their beginning to their end: a real gateway, MLflow and store, with made-up evidence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.errors import (
    InvalidSpecError,
    PromotionConflictError,
    RejectedError,
    RolloutConflictError,
)
from airflow_provider_mlops.lifecycle import deploy_check
from airflow_provider_mlops.lifecycle import rollout_question as question
from airflow_provider_mlops.lifecycle.rollout import STEP, RolloutResult, rollout
from airflow_provider_mlops.lifecycle.rollout_look import look
from airflow_provider_mlops.registry import audit, promotion
from airflow_provider_mlops.serving.client import GatewayClient
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.lifecycle.live_gateway import LiveGateway
from tests.lifecycle.live_model import with_task
from tests.lifecycle.live_versions import Versions
from tests.lifecycle.rollout_evidence import Traffic

GATE = {"kind": "error_rate", "margin": 0.2}


class Rollouts:
    """Rollouts of version 2 beside the champion 1, each by a task of its own."""

    def __init__(self, versions: Versions, directory: Path) -> None:
        self.versions = versions
        self.store: RolloutStore = versions.workspace.rollout_store()
        self.traffic = Traffic(directory, self.store)

    def run(self, run_id: str = "r1", number: int = 2, **fields: Any) -> RolloutResult:
        terms = {"bake_time": 0, "minimum_requests": 1, "gates": [GATE], "hard_limits": None}
        spec = STEP.parse({"model": self.versions[number], **terms, **fields})
        return rollout(spec, with_task(self.versions.workspace, "rollout", run_id))

    def current(self) -> Rollout:
        found = self.store.current(self.versions.name)
        assert found is not None
        return found

    def trail(self) -> list[audit.AuditEntry]:
        return audit.entries(self.versions.registry, self.versions.name)[1:]


@pytest.fixture
def rollouts(versions: Versions, tmp_path: Path) -> Iterator[Rollouts]:
    versions.deploy(1)
    made = Rollouts(versions, tmp_path)
    yield made
    made.store.close()


def test_a_canary_goes_up_step_by_step_and_becomes_champion(rollouts: Rollouts, gateway: LiveGateway) -> None:
    begun = rollouts.run(reason="nightly")
    assert (begun.status, begun.step, begun.deployment) == ("running", 0, None)
    assert [finding.verdict for finding in begun.findings] == ["inconclusive"]
    with gateway.client() as client:
        assert client.model_ready(rollouts.versions.name, 2)
    seen = []
    while begun.status == "running":
        seen.append((begun.step, rollouts.current().state.weights))
        rollouts.traffic.add(rollouts.current())
        begun = rollouts.run(reason="nightly")
    assert [weights["candidate"] for _, weights in seen if weights] == [0.05, 0.25, 0.5, 1.0]
    assert (begun.status, begun.version) == ("promoted", 2)
    assert [finding.verdict for finding in begun.findings] == ["better"]
    assert begun.deployment is not None
    assert (begun.deployment.version, begun.deployment.previous_version) == (2, 1)
    (entry,) = rollouts.trail()
    assert (entry.action, entry.to_version, entry.rollout_id) == ("promote", 2, begun.rollout_id)
    assert entry.reason.startswith("nightly. Error rate: candidate less champion is below"), entry.reason
    assert rollouts.versions.aliases() == {"champion": 2, "previous": 1}
    with gateway.client() as client:
        assert client.model(rollouts.versions.name)["active"] == 2
    assert rollouts.store.current(rollouts.versions.name) is None
    # Run once more, as by a retry after the last moment, it says the same and changes nothing.
    again = rollouts.run(reason="nightly")
    assert (again.status, again.rollout_id, again.deployment) == ("promoted", begun.rollout_id, begun.deployment)
    assert len(rollouts.trail()) == 1


def test_a_worse_version_is_rolled_back_and_leaves_one_entry(rollouts: Rollouts, gateway: LiveGateway) -> None:
    rollouts.run()
    rollouts.traffic.add(rollouts.current(), errors=150)
    over = rollouts.run()
    assert (over.status, over.version) == ("rolled_back", 1)
    assert over.findings[0].verdict == "worse"
    (entry,) = rollouts.trail()
    assert (entry.action, entry.from_version, entry.to_version, entry.candidates) == ("keep", 1, 1, (2,))
    assert entry.rollout_id == over.rollout_id
    assert over.deployment is not None
    assert (over.deployment.version, over.deployment.audit_sequence) == (1, entry.sequence)
    assert rollouts.versions.aliases() == {"champion": 1}
    champion = promotion.champion(rollouts.versions.registry, rollouts.versions.name)
    assert champion is not None
    assert champion.version == 1
    # The task that is run again once it is over begins another rollout, which may end otherwise.
    assert rollouts.run().rollout_id != over.rollout_id


def test_what_a_gateway_has_rolled_back_is_settled_by_the_task(rollouts: Rollouts) -> None:
    begun = rollouts.run()
    seen = rollouts.current()
    back = transitions.rolled_back(seen.spec, seen.state, datetime.now(UTC), "gateway 7", "half of 40 requests failed")
    rollouts.store.compare_and_set(seen, back)
    over = rollouts.run()
    assert (over.rollout_id, over.status, over.reason) == (
        begun.rollout_id,
        "rolled_back",
        "half of 40 requests failed",
    )
    assert rollouts.trail()[0].reason == "gateway 7: half of 40 requests failed"
    assert rollouts.store.get(str(over.rollout_id)).state.settled


def test_a_shadow_that_only_looks_leaves_the_champion(rollouts: Rollouts) -> None:
    strategy = {"kind": "shadow", "on_success": "end"}
    rollouts.run(strategy=strategy)
    rollouts.traffic.add(rollouts.current())
    over = rollouts.run(strategy=strategy)
    assert (over.status, over.version) == ("ended", 1)
    assert rollouts.trail()[0].action == "keep"


def test_a_bandit_promotes_the_winner_of_several(rollouts: Rollouts) -> None:
    fields = {
        "candidates": [rollouts.versions[3]], "strategy": "bandit", "gates": [], "reward": {"binary": True},
    }  # fmt: skip
    rollouts.run(**fields)
    current = rollouts.current()
    assert [arm.name for arm in current.spec.arms] == ["champion", "candidate_2", "candidate_3"]
    rollouts.traffic.add(current, rewarded="candidate_3", requests=40)
    over = rollouts.run(**fields)
    assert (over.status, over.version) == ("promoted", 3)
    assert rollouts.versions.aliases() == {"champion": 3, "previous": 1}
    with pytest.raises(InvalidSpecError, match="only bandits take candidates"):
        rollouts.run(candidates=[rollouts.versions[3]])


class Killed(BaseException):
    """Stands for the end of the process: no handler for errors catches it."""


POINTS = {
    "before the gateway loads": (GatewayClient, "load", False),
    "after the start": (RolloutStore, "start", True),
    "before the decision": (RolloutStore, "compare_and_set", False),
    "after the decision": (RolloutStore, "compare_and_set", True),
    "between the audit entry and the alias": (audit, "append", True),
    "before the gateway activates": (GatewayClient, "activate", False),
    "after the gateway activated": (GatewayClient, "activate", True),
    "after it is settled": (RolloutStore, "change", True),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_and_run_again_it_promotes_once(
    rollouts: Rollouts, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, after = POINTS[point]
    original = getattr(owner, name)

    def die(*arguments: object, **keywords: object) -> None:
        if after:
            original(*arguments, **keywords)
        raise Killed

    ids, killed = set(), 0
    for _ in range(8):
        with monkeypatch.context() as patched:
            if not killed:
                patched.setattr(owner, name, die)
            try:
                result = rollouts.run(strategy={"kind": "canary", "steps": [1.0]})
            except Killed:
                killed += 1
                continue
        ids.add(result.rollout_id)
        if result.status != "running":
            break
        rollouts.traffic.add(rollouts.current())
    assert (killed, result.status, len(ids)) == (1, "promoted", 1)
    assert [(entry.action, entry.to_version) for entry in rollouts.trail()] == [("promote", 2)]
    assert rollouts.versions.aliases() == {"champion": 2, "previous": 1}
    assert len(rollouts.store.of_model(rollouts.versions.name)) == 1


KILLED_AFTER_THE_DECISION = """
import os, signal, sys
from airflow_provider_mlops.lifecycle.rollout import RolloutSpec, rollout
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
original = RolloutStore.compare_and_set
def compare_and_set(*arguments):
    original(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
RolloutStore.compare_and_set = compare_and_set
rollout(RolloutSpec.model_validate_json(sys.argv[1]), Workspace.model_validate_json(sys.argv[2]))
"""


def test_a_process_that_is_killed_with_sigkill_after_a_rollback(rollouts: Rollouts) -> None:
    rollouts.run()
    rollouts.traffic.add(rollouts.current(), errors=150)
    spec = STEP.parse({"model": rollouts.versions[2]})
    workspace = with_task(rollouts.versions.workspace, "rollout", "r1")
    command = [sys.executable, "-c", KILLED_AFTER_THE_DECISION, spec.model_dump_json(), workspace.model_dump_json()]
    killed = subprocess.run(command, capture_output=True, timeout=120, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert rollouts.trail() == []
    assert rollouts.run().status == "rolled_back"
    assert [entry.action for entry in rollouts.trail()] == ["keep"]


def test_two_rollouts_of_a_model_cannot_overlap(rollouts: Rollouts, caplog: pytest.LogCaptureFixture) -> None:
    begun = rollouts.run("r1")
    with pytest.raises(RolloutConflictError, match=f"is under way: {begun.rollout_id}, begun by churn/r1/rollout"):
        rollouts.run("r2", number=3)
    waiting = rollouts.run("r2", number=3, if_another_runs="wait")
    assert (waiting.status, waiting.rollout_id) == ("waiting", None)
    rollouts.traffic.add(rollouts.current(), errors=150)
    rollouts.run("r1")
    after = rollouts.run("r2", number=3, if_another_runs="wait")
    assert after.status == "running"
    assert rollouts.current().spec.candidates == (3,)


def test_a_champion_that_was_moved_meanwhile_ends_the_rollout(rollouts: Rollouts) -> None:
    begun = rollouts.run()
    rollouts.versions.deploy(3)
    with pytest.raises(PromotionConflictError, match=r"version 3 is champion by now: it is ended"):
        rollouts.run()
    state = rollouts.store.get(str(begun.rollout_id)).state
    assert (state.status, state.version, state.settled) == ("ended", 3, True)
    assert rollouts.versions.aliases()["champion"] == 3
    assert rollouts.store.current(rollouts.versions.name) is None


def test_a_champion_that_is_moved_between_decision_and_promotion_stays(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = rollouts.run(strategy={"kind": "canary", "steps": [1.0]})
    rollouts.traffic.add(rollouts.current())
    original = promotion.promote

    def promote(*arguments: Any, **keywords: Any) -> audit.AuditEntry:
        monkeypatch.setattr(promotion, "promote", original)
        rollouts.versions.deploy(3)
        return original(*arguments, **keywords)

    monkeypatch.setattr(promotion, "promote", promote)
    with pytest.raises(PromotionConflictError, match="the champion is version 3"):
        rollouts.run()
    assert rollouts.store.get(str(begun.rollout_id)).state.version == 3
    assert rollouts.versions.aliases() == {"champion": 3, "previous": 1}


def test_without_a_champion_there_is_nothing_to_roll_out_beside(versions: Versions, tmp_path: Path) -> None:
    rollouts = Rollouts(versions, tmp_path)
    with pytest.raises(InvalidSpecError, match=r"model=.*no champion .*deploy a first version"):
        rollouts.run()
    assert rollouts.store.current(versions.name) is None


def test_a_version_that_answers_otherwise_than_its_package_begins_nothing(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_check, "same", lambda *_: False)
    with pytest.raises(RejectedError):
        rollouts.run()
    assert rollouts.store.of_model(rollouts.versions.name) == []


def later(rollouts: Rollouts, hours: float) -> Rollout:
    """Look at the present rollout as if so much time had passed."""
    moment = datetime.now(UTC) + timedelta(hours=hours)
    workspace = with_task(rollouts.versions.workspace, "rollout", "r1")
    return look(workspace, rollouts.store, rollouts.current(), moment)


def test_a_human_lets_a_step_go_on_and_is_asked_again_in_the_next(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decide_within=3600, minimum_requests=10**6)
    rollouts.traffic.add(rollouts.current(), requests=3)
    held = later(rollouts, 2)
    assert question.is_asked(held)
    text = question.body(held, ())
    assert "step 1 of 4" in text
    assert "too few requests" in text
    question.answer(rollouts.store, held.id, question.GO_ON, "ada")
    second = later(rollouts, 0)
    assert (second.state.status, second.state.step) == ("running", 1)
    assert "Approved by ada: answered 'Go on'" in second.state.reason
    # The answer counts for one step; a late one changes nothing.
    question.answer(rollouts.store, held.id, question.GO_ON, "ada")
    assert rollouts.current().state.status == "running"
    assert question.is_asked(later(rollouts, 2))
    question.answer(rollouts.store, held.id, question.ROLL_BACK, "bob")
    over = rollouts.run()
    assert (over.status, rollouts.trail()[0].reason.partition(":")[0]) == ("rolled_back", "bob")


def test_who_waits_for_evidence_is_asked_again_after_as_long(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decide_within=3600, minimum_requests=10**6)
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
    question.answer(rollouts.store, str(begun.rollout_id), question.GO_ON, "ada")
    assert rollouts.store.get(str(begun.rollout_id)).state.status == "rolled_back"


def test_what_becomes_worse_while_a_human_is_asked_is_rolled_back(rollouts: Rollouts) -> None:
    rollouts.run(on_inconclusive="ask", decide_within=3600, minimum_requests=10**6)
    assert question.is_asked(later(rollouts, 2))
    rollouts.traffic.add(rollouts.current(), errors=150)
    assert rollouts.run().status == "rolled_back"
