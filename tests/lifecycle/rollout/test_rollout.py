"""Rollouts from their beginning to their end: a real gateway, MLflow and store, with made-up evidence."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import (
    InvalidSpecError,
    PromotionConflictError,
    RejectedError,
)
from airflow_provider_mlops.lifecycle.deploy import check as deploy_check
from airflow_provider_mlops.lifecycle.rollout.step import STEP
from airflow_provider_mlops.registry import audit, promotion
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import customers, records, with_task
from tests.helpers.serving.live_rollouts import Killed, Rollouts
from tests.helpers.serving.live_versions import Versions


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
    assert entry.reason.startswith("nightly. Error rate: candidate minus champion is below"), entry.reason
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


def test_the_log_says_a_decision_and_its_reason_once(rollouts: Rollouts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    begun = rollouts.run()
    assert caplog.text.count(begun.findings[0].sentence.rstrip(".")) == 1
    caplog.clear()
    rollouts.traffic.add(rollouts.current(), errors=150)
    over = rollouts.run()
    assert "is now rolled back at step 1: " in caplog.text
    assert caplog.text.count(over.reason.rstrip(".")) == 1


def test_what_a_gateway_has_rolled_back_is_settled_by_the_task(rollouts: Rollouts) -> None:
    begun = rollouts.run()
    seen = rollouts.current()
    back = transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), "gateway 7", "half of 40 requests failed")
    rollouts.store.compare_and_set(seen, back)
    over = rollouts.run()
    assert (over.rollout_id, over.status, over.reason) == (
        begun.rollout_id,
        "rolled_back",
        "half of 40 requests failed",
    )
    assert rollouts.trail()[0].reason == "gateway 7: half of 40 requests failed"
    assert rollouts.store.get(str(over.rollout_id)).state.settled


def test_a_version_that_is_deleted_meanwhile_keeps_nobody_waiting(rollouts: Rollouts) -> None:
    fields = {"strategy": {"kind": "canary", "steps": [0.5]}}
    spec = rollouts.versions[2]
    begun = rollouts.run(**fields)
    rollouts.traffic.add(rollouts.current())
    rollouts.versions.registry.client.delete_model_version(spec.name, "2")
    with pytest.raises(InvalidSpecError, match="version"):
        rollouts.run(number=3, model=spec, **fields)
    state = rollouts.store.get(str(begun.rollout_id)).state
    assert (state.status, state.version, state.settled) == ("ended", 1, True)
    assert rollouts.store.current(spec.name) is None
    assert rollouts.trail() == []


def test_a_shadow_that_only_looks_leaves_the_champion(rollouts: Rollouts) -> None:
    strategy = {"kind": "shadow", "on_success": "end"}
    rollouts.run(strategy=strategy)
    rollouts.traffic.add(rollouts.current())
    over = rollouts.run(strategy=strategy)
    assert (over.status, over.version) == ("ended", 1)
    assert rollouts.trail()[0].action == "keep"


def test_a_bandit_promotes_the_winner_of_several(rollouts: Rollouts) -> None:
    fields = {
        "candidates": [rollouts.versions[3]],
        "strategy": "bandit",
        "gates": [],
        "reward": {"binary": True},
    }
    rollouts.run(**fields)
    current = rollouts.current()
    assert [arm.name for arm in current.plan.arms] == ["champion", "candidate_2", "candidate_3"]
    rollouts.traffic.add(current, rewarded="candidate_3", requests=500)
    over = rollouts.run(**fields)
    assert (over.status, over.version) == ("promoted", 3), over.reason
    assert rollouts.versions.aliases() == {"champion": 3, "previous": 1}
    with pytest.raises(InvalidSpecError, match="compares only one version"):
        rollouts.run(candidates=[rollouts.versions[3]])


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
                result = rollouts.run(strategy={"kind": "canary", "steps": [0.5]})
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


@pytest.mark.parametrize("status", ["promoted", "rolled_back", "ended"])
def test_a_retry_tells_the_end_that_an_earlier_try_has_settled(rollouts: Rollouts, status: str) -> None:
    ending = {"kind": "shadow", "on_success": "end"} if status == "ended" else {"kind": "canary", "steps": [0.5]}
    fields = {"strategy": ending, "reason": "nightly"}
    rollouts.run(**fields)
    rollouts.traffic.add(rollouts.current(), errors=150 if status == "rolled_back" else 0)
    over = rollouts.run(**fields)
    assert over.status == status
    # Whatever has become of the model before Airflow noticed that the task had died.
    champion = 2 if status == "promoted" else 1
    task = rollouts.versions.workspace.task
    promotion.promote(rollouts.versions.registry, rollouts.versions[3], expected=champion, by=task, reason="by hand")
    trail = rollouts.trail()
    assert rollouts.run(tries=(2, 1), **fields) == over
    assert rollouts.trail() == trail
    assert rollouts.versions.aliases()["champion"] == 3
    assert len(rollouts.store.of_model(rollouts.versions.name)) == 1
    # A task that is cleared rolls out again.
    anew = rollouts.run(tries=(3, 3), **fields)
    assert (anew.status, rollouts.current().plan.champion) == ("running", 3)
    assert anew.rollout_id != over.rollout_id


def test_a_retry_fails_as_the_try_did_whose_rollout_was_overtaken(rollouts: Rollouts) -> None:
    rollouts.run()
    task = rollouts.versions.workspace.task
    promotion.promote(rollouts.versions.registry, rollouts.versions[3], expected=1, by=task, reason="by hand")
    for attempt in (1, 2):
        with pytest.raises(PromotionConflictError, match=r"was ended: version 3 is champion now"):
            rollouts.run(tries=(attempt, 1))
    assert len(rollouts.store.of_model(rollouts.versions.name)) == 1
    assert rollouts.trail() == rollouts.trail()[:1]


KILLED_AFTER_THE_DECISION = """
import os, signal, sys
from airflow_provider_mlops.lifecycle.rollout.spec import RolloutSpec
from airflow_provider_mlops.lifecycle.rollout.step import rollout
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


def test_without_a_champion_there_is_nothing_to_roll_out_beside(versions: Versions, tmp_path: Path) -> None:
    rollouts = Rollouts(versions, tmp_path)
    with pytest.raises(InvalidSpecError, match=r"model=.*no champion.*Deploy the first version"):
        rollouts.run()
    assert rollouts.store.current(versions.name) is None


def test_a_version_that_answers_otherwise_than_its_package_begins_nothing(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_check, "same", lambda *_: False)
    with pytest.raises(RejectedError):
        rollouts.run()
    assert rollouts.store.of_model(rollouts.versions.name) == []


def test_real_traffic_carries_a_version_through(rollouts: Rollouts, gateway: LiveGateway) -> None:
    strategy = {"kind": "canary", "steps": [0.5, 1.0]}
    result = rollouts.run(strategy=strategy)
    answered = set()
    row = records(customers(1, seed=5))
    with gateway.client() as client:
        for _ in range(30):
            answered |= {client.infer(rollouts.versions.name, row).version for _ in range(100)}
            result = rollouts.run(strategy=strategy)
            if result.status != "running":
                break
        assert (result.status, answered) == ("promoted", {1, 2})
        gateway.wait(lambda: {client.infer(rollouts.versions.name, row).version for _ in range(20)} == {2}, seconds=10)
    counted = rollouts.store.statistics(str(result.rollout_id))
    assert {arm for (step, arm) in counted if step == 0} == {"champion", "candidate"}
