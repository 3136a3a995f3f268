"""Routes follow the store, outlive it, and wait for what they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.router import LINGER_SECONDS, Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.followed_rollouts import NOW, Clock, fail, following, limited, route_of, versions
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, canary, task

SCHEMA = LogSchema("churn", 1, (), "long")


def test_a_rollout_is_followed_from_its_start_to_its_end(store: RolloutStore) -> None:
    clock = Clock()
    router = following(store, clock=clock)
    assert router.route("churn") is None
    rollout = store.start("churn", limited(), task(), NOW)
    router.poll()
    assert versions(router) == {1, 2}
    choice = route_of(router).choose()
    assert choice.rollout_context == {"rollout": rollout.id, "step": 0}
    second = store.compare_and_set(rollout, transitions.next_step(rollout.plan, rollout.state, NOW, "a", "ok"))
    router.poll()
    assert versions(router) == {2}
    assert route_of(router).choose().rollout_context == {"rollout": rollout.id, "step": 1}
    done = store.compare_and_set(second, transitions.promoted(second.plan, second.state, 2, NOW, "a", "ok"))
    router.poll()
    assert route_of(router).choose().arm == "candidate"
    store.compare_and_set(done, transitions.settled(done.state, NOW, task()))
    router.poll()
    # The alias is looked for less often: until then the promoted version goes on.
    assert versions(router) == {2}
    clock.now += LINGER_SECONDS
    router.poll()
    assert router.route("churn") is None
    assert router.needed_versions("churn") == set()


def test_requests_wait_for_rollouts_from_before_the_start(store: RolloutStore) -> None:
    clock, loaded = Clock(), {1}
    store.start("churn", limited(), task(), NOW)
    store.start("shadowed", canary(strategy={"kind": "shadow"}), task(), NOW)
    router = Router(store, by="gateway 1", is_ready=lambda model, version: version in loaded, clock=clock)
    assert router.starting.waits("churn")
    router.poll()
    assert router.route("churn") is None
    assert (router.starting.models(), router.starting.waits("other")) == (["churn"], False)
    loaded.add(2)
    router.poll()
    assert router.route("churn") is not None
    assert router.starting.models() == []
    # A rollout that starts later waits for its versions while the champion answers.
    store.start("later", canary(candidates=[3]), task(), NOW)
    router.poll()
    assert router.route("later") is None
    assert not router.starting.waits("later")


def test_requests_wait_a_limited_time_and_not_for_a_store_that_is_unavailable(store: RolloutStore) -> None:
    clock = Clock()
    store.start("churn", limited(), task(), NOW)
    router = Router(store, by="gateway 1", is_ready=lambda model, version: False, clock=clock)
    router.poll()
    assert router.starting.waits("churn")
    clock.now += 61
    assert not router.starting.waits("churn")
    unavailable = Router(RolloutStore("postgresql+psycopg://127.0.0.1:1/none"), by="gateway 2")
    unavailable.poll()
    assert unavailable.error is not None
    assert not unavailable.starting.waits("churn")


def test_a_rollback_is_followed(store: RolloutStore) -> None:
    router = following(store)
    rollout = store.start("churn", limited(), task(), NOW)
    router.poll()
    store.compare_and_set(rollout, transitions.rolled_back(rollout.plan, rollout.state, NOW, "a", "worse"))
    router.poll()
    assert router.route("churn") is None


def test_a_poll_without_changes_asks_for_two_numbers_only(store: RolloutStore) -> None:
    store.start("churn", limited(), task())
    router = following(store)
    route = router.route("churn")
    statements: list[str] = []

    def heard(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", heard)
    try:
        router.poll()
    finally:
        event.remove(Engine, "before_cursor_execute", heard)
    assert [text.partition(" ")[0] for text in statements] == ["BEGIN", "SELECT"]
    assert router.route("churn") is route


def test_while_the_store_is_away_routes_go_on_and_limits_hold(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(), task())
    router = following(store)
    store.close()
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("no directory")
    router.poll()
    assert "The rollout store" in (router.error or "")
    assert versions(router) == {1, 2}
    fail(router, 10)
    router.poll()
    assert versions(router) == {1}
    (tmp_path / "store").unlink()
    (tmp_path / "gone").rename(tmp_path / "store")
    router.poll()
    assert router.error is None
    assert store.get(rollout.id).state.status == "rolled_back"
    assert router.route("churn") is None


def test_a_store_that_is_made_anew_is_followed(store: RolloutStore, tmp_path: Path) -> None:
    """The rollouts that it does not know are over, whatever this gateway still had to tell of them."""
    store.start("churn", limited(), task())
    store.start("other", limited(), task("run-2"))
    router = following(store)
    fail(router, 10)
    for file in (tmp_path / "store").iterdir():
        file.unlink()
    router.poll()
    # What is gone is not made by those who follow it: it may only be away.
    assert "missing" in (router.error or "")
    assert router.route("other") is not None
    anew = RolloutStore(default_url(str(tmp_path / "store")))
    rollout = anew.start("churn", limited(), task())
    router.poll()
    assert router.error is None
    assert route_of(router).rollout.id == rollout.id
    assert router.route("other") is None
    router.end("nobody", "somebody has activated another version")
    anew.close()


def test_who_decides_first_wins(store: RolloutStore) -> None:
    """The DAG ends the rollout in the moment in which the gateway goes back: its end stays."""
    rollout = store.start("churn", limited(), task())
    router = following(store)
    store.compare_and_set(rollout, transitions.ended(rollout.plan, rollout.state, NOW, "task", "enough"))
    fail(router, 10)
    router.poll()
    assert [state.status for state in store.history(rollout.id)] == ["running", "ended"]


def test_a_rollout_waits_for_its_versions_to_be_loaded(store: RolloutStore) -> None:
    loaded: set[int] = {1}
    rollout = store.start("churn", limited(), task())
    router = following(store, is_ready=lambda model, version: version in loaded)
    assert router.route("churn") is None
    assert router.missing_versions() == [("churn", 2)]
    assert router.needed_versions("churn") == {1, 2}
    loaded.add(2)
    router.poll()
    assert versions(router) == {1, 2}
    assert router.missing_versions() == []
    loaded.clear()
    router.unservable("churn", 7, "no such file")
    router.unservable("churn", 2, "no such file")
    router.poll()
    assert store.get(rollout.id).state.reason == "version 2 cannot be loaded: no such file"


def test_a_bandit_learns_from_what_all_gateways_have_ingested(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", bandit(), task())
    router, log = following(store), WriteAhead(str(tmp_path / "write-ahead"))
    before = route_of(router).policy.weights()
    assert before[1, "champion"] == pytest.approx(0.5)
    for arm, reward in [("champion", 0.0), ("candidate", 1.0)] * 20:
        request = prediction_id.new()
        log_predictions(
            log,
            SCHEMA,
            request,
            arm=arm,
            propensity=0.5,
            features=[],
            output=[1],
            latency_ms=1.0,
            rollout_context={"rollout": rollout.id, "step": 0},
        )
        log.feedback([(request, None, reward)])
    Ingestion(store, log.root, log).run()
    router.poll()
    after = route_of(router).policy.weights()
    assert after[2, "candidate"] == pytest.approx(0.9, abs=1e-6)
    # A gateway that starts later begins with what is known.
    assert route_of(following(store)).policy.weights() == after
