"""What people do to rollouts: with an audit entry, as the task would, and so that the task ends properly."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.cancel import cancel
from airflow_provider_mlops.lifecycle.rollout.interventions import Interventions
from airflow_provider_mlops.lifecycle.rollout.live_report import report_uri
from airflow_provider_mlops.registry.author import Person
from airflow_provider_mlops.serving.rollouts.attendance import read_attendances
from tests.helpers.serving.live_model import with_task
from tests.helpers.serving.live_rollouts import Rollouts

ADA = Person(name="ada@desk")


@pytest.fixture
def by_hand(rollouts: Rollouts) -> Interventions:
    # A person at a shell knows the storage and MLflow, but no gateway.
    workspace = rollouts.versions.workspace.model_copy(update={"gateway_url": None})
    return Interventions(workspace, rollouts.store, ADA)


def test_a_promotion_by_hand_is_one_of_the_task(rollouts: Rollouts, by_hand: Interventions) -> None:
    begun = rollouts.run(run_id="by hand")
    entry = by_hand.promote(str(begun.rollout_id), "good enough")
    assert (entry.action, entry.by, entry.rollout_id) == ("promote", ADA, begun.rollout_id)
    assert entry.reason == "ada@desk: good enough"
    assert rollouts.versions.aliases() == {"champion": 2, "previous": 1}
    # Other rollouts may start, and the task reports this one: in the same try, and in a retry.
    assert rollouts.store.current(rollouts.versions.name) is None
    for tries in ((1, 1), (2, 1)):
        over = rollouts.run(run_id="by hand", tries=tries)
        assert (over.status, over.version, over.rollout_id) == ("promoted", 2, begun.rollout_id)
        assert over.deployment is not None
        assert over.deployment.audit_sequence == entry.sequence
    assert len(rollouts.trail()) == 1
    assert len(rollouts.store.of_model(rollouts.versions.name)) == 1


def test_a_rollback_by_hand_ends_the_task(rollouts: Rollouts, by_hand: Interventions) -> None:
    begun = rollouts.run(run_id="back")
    entry = by_hand.roll_back(str(begun.rollout_id), "complaints")
    assert (entry.action, entry.to_version, entry.by) == ("keep", 1, ADA)
    over = rollouts.run(run_id="back")
    assert (over.status, over.reason, over.rollout_id) == ("rolled_back", "complaints", begun.rollout_id)
    assert len(rollouts.trail()) == 1
    # After the task has been cleared, a new rollout starts.
    assert rollouts.run(run_id="back", tries=(2, 2)).rollout_id != begun.rollout_id


def test_a_paused_rollout_decides_nothing_and_loses_no_time(rollouts: Rollouts, by_hand: Interventions) -> None:
    name = str(rollouts.run(bake_time=0).rollout_id)
    by_hand.pause(name, "a review")
    assert read_attendances(rollouts.store)[name].by == ADA.key
    before = rollouts.current().state
    for errors in (0, 300):
        rollouts.traffic.add(rollouts.current(), errors=errors)
        held = rollouts.run(bake_time=0)
        assert (held.status, held.step) == ("running", before.step)
    assert rollouts.current().state == before
    by_hand.resume(name, "reviewed")
    resumed = rollouts.current().state
    assert resumed.step_started_at - before.step_started_at == resumed.waiting_since - before.waiting_since
    assert resumed.step_started_at > before.step_started_at
    # The evidence of the pause counts.
    assert rollouts.run(bake_time=0).status == "rolled_back"
    assert [entry.action for entry in rollouts.trail()] == ["pause", "resume", "keep"]
    assert [(entry.from_version, entry.to_version) for entry in rollouts.trail()] == [(1, 1)] * 3


def test_what_makes_no_sense_is_one_sentence_and_changes_nothing(rollouts: Rollouts, by_hand: Interventions) -> None:
    name = str(rollouts.run().rollout_id)
    with pytest.raises(InvalidSpecError, match="has no rollout with this id"):
        by_hand.pause("nonsense", "a")
    with pytest.raises(InvalidSpecError, match="it is running, not paused"):
        by_hand.resume(name, "a")
    with pytest.raises(InvalidSpecError, match="Set --version to 2"):
        by_hand.promote(name, "a", version=3)
    by_hand.pause(name, "a")
    with pytest.raises(InvalidSpecError, match="it is paused already"):
        by_hand.pause(name, "a")
    by_hand.roll_back(name, "b")
    for change in (by_hand.pause, by_hand.resume, by_hand.roll_back, by_hand.promote):
        with pytest.raises(InvalidSpecError, match="it is over: rolled back by ada@desk at"):
            change(name, "c")
    assert [entry.action for entry in rollouts.trail()] == ["pause", "keep"]


def test_a_rollback_by_hand_does_not_wait_for_mlflow(rollouts: Rollouts) -> None:
    begun = rollouts.run()
    away = {"tracking_uri": "http://127.0.0.1:9", "gateway_url": None}
    offline = Interventions(rollouts.versions.workspace.model_copy(update=away), rollouts.store, ADA)
    with pytest.raises(BackendUnavailableError):
        offline.promote(str(begun.rollout_id), "a")
    assert rollouts.current().state.status == "running"
    with pytest.raises(BackendUnavailableError):
        offline.roll_back(str(begun.rollout_id), "a")
    assert rollouts.store.get(str(begun.rollout_id)).state.status == "rolled_back"


@pytest.mark.parametrize("on_cancel", ["roll_back", "keep"])
def test_a_canceled_task_rolls_back_or_says_what_continues(
    rollouts: Rollouts, on_cancel: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = rollouts.run(run_id="canceled", on_cancel=on_cancel, unattended_timeout=timedelta(minutes=5))
    name, workspace = str(begun.rollout_id), with_task(rollouts.versions.workspace, "rollout", "canceled")
    with caplog.at_level(logging.WARNING):
        cancel(workspace, name, "was marked as failed")
    state = rollouts.store.get(name).state
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    if on_cancel == "keep":
        (line,) = errors
        assert "was marked as failed, but rollout" in line
        assert "step 1 of 4 (candidate gets 5% of the requests)" in line
        assert "The gateways roll it back after 5 minutes without a check" in line
        assert f"airflow-mlops rollouts roll-back {name} --reason 'no longer watched'" in line
        assert (state.status, rollouts.trail()) == ("running", [])
        # A cleared task rejoins it.
        assert rollouts.run(run_id="canceled", tries=(2, 2)).rollout_id == name
        return
    assert errors == []
    assert (state.status, state.reason, state.settled) == ("rolled_back", "the task was marked as failed", True)
    assert [entry.action for entry in rollouts.trail()] == ["keep"]
    # A cleared task starts again.
    assert rollouts.run(run_id="canceled", tries=(2, 2)).rollout_id != name


def test_the_report_has_the_weights_the_evidence_and_the_history(rollouts: Rollouts, by_hand: Interventions) -> None:
    begun = rollouts.run()
    page = report_uri(rollouts.versions.workspace.storage_uri, rollouts.current())
    assert begun.report_uri == page
    running = Path(page).read_text()
    assert '<meta http-equiv="refresh"' in running
    assert "Weights over time" in running
    assert "Inconclusive: Error rate" in running
    rollouts.traffic.add(rollouts.current())
    rollouts.run()
    assert "it is 0 points" in Path(page).read_text()
    by_hand.roll_back(str(begun.rollout_id), "<b>complaints</b>")
    over = Path(page).read_text()
    assert '<meta http-equiv="refresh"' not in over
    assert "&lt;b&gt;complaints&lt;/b&gt;" in over
    assert "ada@desk" in over
    assert "http" not in over.replace("http-equiv", "")
