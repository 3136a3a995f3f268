"""Routes follow the store, outlive it, and go back to the champion by themselves."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_provider_mlops.serving.gateway.chosen import first_value
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.log_schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.policies.build import build
from airflow_provider_mlops.serving.rollouts.recent import RecentErrors, RecentTotals
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutSpec
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.routes import ANYBODY, Choice
from airflow_provider_mlops.serving.rollouts.routing import LINGER_SECONDS, Routing
from airflow_provider_mlops.serving.rollouts.shadow_queue import ShadowQueue
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.serving.rollout_in_test import bandit, canary, task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = LogSchema("churn", 1, (), "long")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(tmp_path / "store")))
    yield store
    store.close()


def following(store: RolloutStore, **options: Any) -> Routing:
    routing = Routing(store, by="gateway 1", **options)
    routing.poll()
    return routing


def route_of(routing: Routing) -> Route:
    route = routing.route("churn")
    assert route is not None
    return route


def versions(routing: Routing, requests: int = 300) -> set[int]:
    return {route_of(routing).choose().version for _ in range(requests)}


def limited(**fields: Any) -> RolloutSpec:
    strategy = {"kind": "canary", "steps": [0.5, 1.0]}
    limits = {"error_rate": 0.2, "minimum_requests": 10, "window_seconds": 30}
    return canary(**{"strategy": strategy, "hard_limits": limits, **fields})


def test_a_rollout_is_followed_from_its_start_to_its_end(store: RolloutStore) -> None:
    clock = Clock()
    routing = following(store, clock=clock)
    assert routing.route("churn") is None
    rollout = store.start("churn", limited(), task(), NOW)
    routing.poll()
    assert versions(routing) == {1, 2}
    choice = route_of(routing).choose()
    assert choice.marks == {"rollout": rollout.id, "step": 0}
    second = store.compare_and_set(rollout, transitions.next_step(rollout.spec, rollout.state, NOW, "a", "ok"))
    routing.poll()
    assert versions(routing) == {2}
    assert route_of(routing).choose().marks == {"rollout": rollout.id, "step": 1}
    done = store.compare_and_set(second, transitions.promoted(second.spec, second.state, 2, NOW, "a", "ok"))
    routing.poll()
    assert route_of(routing).choose().arm == "candidate"
    store.compare_and_set(done, transitions.settled(done.state, NOW, "a"))
    routing.poll()
    # The alias is looked for less often: until then the promoted version goes on.
    assert versions(routing) == {2}
    clock.now += LINGER_SECONDS
    routing.poll()
    assert routing.route("churn") is None
    assert routing.keeps("churn") == set()


def test_a_rollback_is_followed(store: RolloutStore) -> None:
    routing = following(store)
    rollout = store.start("churn", limited(), task(), NOW)
    routing.poll()
    store.compare_and_set(rollout, transitions.rolled_back(rollout.spec, rollout.state, NOW, "a", "worse"))
    routing.poll()
    assert routing.route("churn") is None


def test_a_poll_without_changes_asks_for_two_numbers_only(store: RolloutStore) -> None:
    store.start("churn", limited(), task())
    routing = following(store)
    route = routing.route("churn")
    statements: list[str] = []

    def heard(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", heard)
    try:
        routing.poll()
    finally:
        event.remove(Engine, "before_cursor_execute", heard)
    assert [text.partition(" ")[0] for text in statements] == ["BEGIN", "SELECT"]
    assert routing.route("churn") is route


def fail(routing: Routing, count: int, *, of: int = 1) -> None:
    """So many failures of the candidate, each one of `of` requests."""
    for _ in range(count):
        choice = next(choice for choice in iter(route_of(routing).choose, None) if choice.version == 2)
        for _ in range(of - 1):
            routing.answered("churn", choice)
        routing.failed("churn", choice)


def test_hard_limits_are_enforced_at_once_and_told_to_the_others(store: RolloutStore) -> None:
    rollout = store.start("churn", limited(), task())
    routing, other = following(store), following(store)
    fail(routing, 9)
    assert versions(routing) == {1, 2}
    fail(routing, 1)
    # Before any poll, so with the very next request.
    assert versions(routing) == {1}
    assert versions(other) == {1, 2}
    began = time.monotonic()
    routing.poll()
    other.poll()
    assert time.monotonic() - began < 1
    assert other.route("churn") is None
    state = store.get(rollout.id).state
    assert (state.status, state.version, state.by) == ("rolled_back", 1, "gateway 1")
    assert "10 of 10 requests to candidate failed within 30 s, seen by this gateway" in state.reason
    assert len(store.history(rollout.id)) == 2


def test_errors_below_the_limit_or_long_ago_change_nothing(store: RolloutStore) -> None:
    clock = Clock()
    store.start("churn", limited(), task())
    routing = following(store, clock=clock)
    fail(routing, 40, of=6)
    assert versions(routing) == {1, 2}
    fail(routing, 9)
    clock.now += 31
    fail(routing, 9)
    assert versions(routing) == {1, 2}
    fail(routing, 1)
    assert versions(routing) == {1}


def test_the_champions_errors_and_those_of_pinned_requests_do_not_count(store: RolloutStore) -> None:
    rollout = store.start("churn", limited(), task())
    routing = following(store)
    for _ in range(50):
        routing.failed("churn", Choice(1, "champion", 0.5, {"rollout": rollout.id, "step": 0}))
        routing.failed("churn", Choice(2, "pinned", 1.0))
        routing.failed("churn", Choice(2, "candidate", 0.5, {"rollout": "another", "step": 0}))
    routing.poll()
    assert versions(routing) == {1, 2}


def test_errors_that_other_gateways_had_are_seen_in_the_store(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(), task())
    logs = [WriteAhead(str(tmp_path / "write-ahead")) for _ in range(2)]

    def failures(count: int) -> None:
        for number in range(count):
            logs[number % 2].failure(
                prediction_id.new(), model="churn", version=2, arm="candidate", latency_ms=1.0, error="",
                marks={"rollout": rollout.id, "step": 0},
            )  # fmt: skip
        for log in logs:
            Ingestion(store, log.root, log).run()

    # Of failures before this gateway has looked for the first time it cannot know how long ago they were.
    failures(40)
    routing = following(store)
    routing.poll()
    assert versions(routing) == {1, 2}
    failures(9)
    routing.poll()
    assert versions(routing) == {1, 2}
    failures(2)
    routing.poll()
    assert versions(routing) == {1}
    routing.poll()
    assert "11 of 11" in store.get(rollout.id).state.reason
    assert routing.route("churn") is None


def test_the_first_errors_in_the_store_count_where_none_were_before(store: RolloutStore, tmp_path: Path) -> None:
    """Of a shadow they are all that tells: nothing is counted on the way of an answer."""
    rollout = store.start("churn", limited(), task())
    routing = following(store)
    log = WriteAhead(str(tmp_path / "write-ahead"))
    for _ in range(12):
        log.failure(
            prediction_id.new(), model="churn", version=2, arm="candidate", latency_ms=1.0, error="",
            marks={"rollout": rollout.id, "step": 0},
        )  # fmt: skip
    Ingestion(store, log.root, log).run()
    routing.poll()
    assert versions(routing) == {1}


def test_while_the_store_is_away_routes_go_on_and_limits_hold(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(), task())
    routing = following(store)
    store.close()
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("no directory")
    routing.poll()
    assert "The rollout store" in (routing.error or "")
    assert versions(routing) == {1, 2}
    fail(routing, 10)
    routing.poll()
    assert versions(routing) == {1}
    (tmp_path / "store").unlink()
    (tmp_path / "gone").rename(tmp_path / "store")
    routing.poll()
    assert routing.error is None
    assert store.get(rollout.id).state.status == "rolled_back"
    assert routing.route("churn") is None


def test_a_store_that_is_made_anew_is_followed(store: RolloutStore, tmp_path: Path) -> None:
    """The rollouts that it does not know are over, whatever this gateway still had to tell of them."""
    store.start("churn", limited(), task())
    store.start("other", limited(), task("run-2"))
    routing = following(store)
    fail(routing, 10)
    for file in (tmp_path / "store").iterdir():
        file.unlink()
    routing.poll()
    # What is gone is not made by those who follow it: it may only be away.
    assert "gone" in (routing.error or "")
    assert routing.route("other") is not None
    anew = RolloutStore(default_url(str(tmp_path / "store")))
    rollout = anew.start("churn", limited(), task())
    routing.poll()
    assert routing.error is None
    assert route_of(routing).rollout.id == rollout.id
    assert routing.route("other") is None
    routing.end("nobody", "somebody has activated another version")
    anew.close()


def test_who_decides_first_wins(store: RolloutStore) -> None:
    """The DAG ends the rollout in the moment in which the gateway goes back: its end stays."""
    rollout = store.start("churn", limited(), task())
    routing = following(store)
    store.compare_and_set(rollout, transitions.ended(rollout.spec, rollout.state, NOW, "task", "enough"))
    fail(routing, 10)
    routing.poll()
    assert [state.status for state in store.history(rollout.id)] == ["running", "ended"]


def test_a_rollout_waits_for_its_versions_to_be_loaded(store: RolloutStore) -> None:
    loaded: set[int] = {1}
    rollout = store.start("churn", limited(), task())
    routing = following(store, is_ready=lambda model, version: version in loaded)
    assert routing.route("churn") is None
    assert routing.wanted() == [("churn", 2)]
    assert routing.keeps("churn") == {1, 2}
    loaded.add(2)
    routing.poll()
    assert versions(routing) == {1, 2}
    assert routing.wanted() == []
    loaded.clear()
    routing.unservable("churn", 7, "no such file")
    routing.unservable("churn", 2, "no such file")
    routing.poll()
    assert store.get(rollout.id).state.reason == "version 2 cannot be loaded: no such file"


def test_a_bandit_learns_from_what_all_gateways_have_ingested(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", bandit(), task())
    routing, log = following(store), WriteAhead(str(tmp_path / "write-ahead"))
    before = route_of(routing).policy.weights()
    assert before[1, "champion"] == pytest.approx(0.5)
    for arm, reward in [("champion", 0.0), ("candidate", 1.0)] * 20:
        request = prediction_id.new()
        log.predictions(
            SCHEMA, request, arm=arm, propensity=0.5, features=[], output=[1], probabilities=None, latency_ms=1.0,
            marks={"rollout": rollout.id, "step": 0},
        )  # fmt: skip
        log.feedback([(request, None, reward)])
    Ingestion(store, log.root, log).run()
    routing.poll()
    after = route_of(routing).policy.weights()
    assert after[2, "candidate"] == pytest.approx(0.99, abs=1e-6)
    # A gateway that starts later begins with what is known.
    assert route_of(following(store)).policy.weights() == after


def requested(spec: RolloutSpec, headers: dict[bytes, bytes], fields: dict[str, Any]) -> tuple[Route, Any]:
    rollout = Rollout("f00d", "churn", task(), spec, transitions.started(spec, NOW, "task"), 1)
    route = Route(rollout, build(rollout, {}))
    return route, route.request(headers, fields.get)


def test_what_a_policy_knows_of_a_request() -> None:
    route, request = requested(canary(), {}, {})
    assert request is ANYBODY
    assert not route.needs_fields
    route, request = requested(canary(sticky={"name": "X-User"}), {b"x-user": b"ada"}, {})
    assert (request.key, request.context, route.needs_fields) == ("ada", None, False)
    first = route.choose(request)
    logged = dict(first.marks or {})
    assert len(logged.pop("key")) == 16
    assert logged == {"rollout": "f00d", "step": 0}
    assert b"ada" not in repr(first).encode()
    route, request = requested(canary(sticky={"source": "field", "name": "user"}), {}, {"user": 17})
    assert (request.key, route.needs_fields) == ("17", True)
    assert requested(canary(sticky={"source": "field", "name": "user"}), {}, {})[1].key is None
    features = [
        {"kind": "number", "name": "age"},
        {"kind": "category", "name": "X-Place", "source": "header", "values": ["north"]},
        {"kind": "number", "name": "hour", "source": "hour"},
    ]
    spec = bandit(strategy={"kind": "contextual_bandit", "features": features})
    route, request = requested(spec, {b"x-place": b"north"}, {"age": 40, "other": 1})
    hour = request.context["hour"]
    assert request.context == {"age": 40, "X-Place": "north", "hour": hour}
    assert 0 <= hour < 24
    assert route.choose(request).marks == {"rollout": "f00d", "step": 0, "context": request.context}


def test_copies_go_to_the_shadow_only() -> None:
    route, request = requested(canary(strategy={"kind": "shadow", "share": 0.5}, gates=[]), {}, {})
    assert {route.choose(request).version for _ in range(50)} == {1}
    copies = Counter(copy and copy.version for copy in (route.copy(request) for _ in range(200)))
    assert copies.keys() == {None, 2}
    assert requested(canary(), {}, {})[0].copy() is None


def test_sliding_windows_forget_by_the_second() -> None:
    clock = Clock()
    recent, totals = RecentErrors(10, clock), RecentTotals(10, clock)
    seen = []
    for second in range(30):
        clock.now = 1000.0 + second
        seen.append((recent.count(second % 2 == 0), totals.look(second, second // 2)))
    assert seen[-1] == ((10, 5), (10, 5))
    assert seen[4] == ((5, 3), (4, 2))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_shadow_that_fails_or_hangs_harms_nobody() -> None:
    queue, answers, failures = ShadowQueue(2, 0.2), [], []  # type: ignore[var-annotated]
    hang = threading.Event()

    def answered(name: str) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: answers.append(name)

    def crash() -> Callable[[], None]:
        raise SystemExit("a model that ends the process")

    def hangs() -> Callable[[], None]:
        hang.wait(60)
        return lambda: answers.append("too late")

    def broken() -> Callable[[], None]:
        def log() -> None:
            raise OSError("the disk is full")

        return log

    assert queue.offer(crash, failures.append)
    wait_until(lambda: failures == ["SystemExit: a model that ends the process"])
    assert queue.offer(broken, failures.append)
    assert queue.offer(answered("one"), failures.append)
    wait_until(lambda: answers == ["one"])
    began = time.monotonic()
    taken = [queue.offer(hangs, failures.append)]
    time.sleep(0.05)
    taken += [queue.offer(answered("two"), failures.append) for _ in range(5)]
    assert time.monotonic() - began < 0.19
    assert taken == [True, True, True, False, False, False]
    assert queue.dropped == 3
    # The hanging one is given up, and those that wait get a thread of their own.
    time.sleep(0.2)
    queue.check()
    wait_until(lambda: answers == ["one", "two", "two"])
    assert failures[1:] == ["no answer within 0.2 seconds"]
    for _ in range(2):
        assert queue.offer(hangs, failures.append)
        time.sleep(0.3)
        queue.check()
    assert not queue.offer(answered("three"), failures.append)
    assert len(failures) == 4
    hang.set()
    time.sleep(0.1)
    assert answers == ["one", "two", "two"]
    queue.close()


def test_a_column_that_a_rollout_goes_by_can_be_logged_whatever_it_is() -> None:
    kinds = {"number": "double", "count": "long", "name": "string", "raw": "binary", "day": "datetime", "on": "boolean"}
    schema = InputSchema(tuple(Feature(name, kind, nullable=True) for name, kind in kinds.items()))
    row = {"number": 0.5, "count": 2, "name": "é", "raw": "aGk=", "day": "2026-01-02T03:04:05", "on": True}
    rows = signature_check.from_records(schema, [row])
    found = {name: first_value(rows, name) for name in [*kinds, "unknown"]}
    assert found == {**row, "raw": "hi", "day": "2026-01-02T03:04:05.000000", "unknown": None}
    assert json.loads(json.dumps(found)) == json.loads(orjson.dumps(found)) == found
    missing = signature_check.from_records(schema, [dict.fromkeys(kinds)])
    assert {first_value(missing, name) for name in kinds} == {None}


def test_a_key_reads_the_same_whatever_the_other_rows_hold() -> None:
    schema = InputSchema((Feature("user", "long", nullable=True), Feature("age", "double", nullable=True)))
    alone = signature_check.from_records(schema, [{"user": 7, "age": 7}])
    others = signature_check.from_records(schema, [{"user": 7, "age": 7}, {"user": None, "age": None}])
    for rows in (alone, others):
        assert [str(first_value(rows, name)) for name in ("user", "age")] == ["7", "7.0"]
