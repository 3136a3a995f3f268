"""Routes go back to the champion by themselves when a candidate fails too often, whoever has seen it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.policy.policy import Choice, RoutingRequest
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.recent import RecentErrors, RecentTotals, fails_like_champion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.followed_rollouts import NOW, Clock, fail, following, limited, route_of, versions
from tests.helpers.rollouts import task


def log_failures(log: WriteAhead, rollout: Rollout, arm: str, count: int) -> None:
    for _ in range(count):
        log.failure(
            prediction_id.new(),
            model="churn",
            version=2,
            arm=arm,
            latency_ms=1.0,
            error="ValueError",
            rollout_context={"rollout": rollout.id, "step": 0},
        )


def test_hard_limits_are_enforced_at_once_and_told_to_the_others(store: RolloutStore) -> None:
    rollout = store.start("churn", limited(), task())
    router, other = following(store), following(store)
    fail(router, 9)
    assert versions(router) == {1, 2}
    fail(router, 1)
    # Before any poll, so with the very next request.
    assert versions(router) == {1}
    assert versions(other) == {1, 2}
    router.poll()
    other.poll()
    assert other.route("churn") is None
    state = store.get(rollout.id).state
    assert (state.status, state.version, state.changed_by) == ("rolled_back", 1, "gateway 1")
    assert "10 of 10 requests to candidate failed within 30 s in this gateway" in state.reason
    assert len(store.history(rollout.id)) == 2


def test_errors_below_the_limit_or_long_ago_change_nothing(store: RolloutStore) -> None:
    clock = Clock()
    store.start("churn", limited(), task())
    router = following(store, clock=clock)
    fail(router, 40, of=6)
    assert versions(router) == {1, 2}
    fail(router, 9)
    clock.now += 31
    fail(router, 9)
    assert versions(router) == {1, 2}
    fail(router, 1)
    assert versions(router) == {1}


def test_the_champions_errors_and_those_of_pinned_requests_do_not_count(store: RolloutStore) -> None:
    rollout = store.start("churn", limited(), task())
    router = following(store)
    for _ in range(50):
        router.failed("churn", Choice(1, "champion", 0.5, {"rollout": rollout.id, "step": 0}))
        router.failed("churn", Choice(2, "pinned", 1.0))
        router.failed("churn", Choice(2, "candidate", 0.5, {"rollout": "another", "step": 0}))
    router.poll()
    assert versions(router) == {1, 2}


def test_errors_that_other_gateways_had_are_seen_in_the_store(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(), task())
    logs = [WriteAhead(str(tmp_path / "write-ahead")) for _ in range(2)]

    def failures(count: int) -> None:
        for number in range(count):
            logs[number % 2].failure(
                prediction_id.new(),
                model="churn",
                version=2,
                arm="candidate",
                latency_ms=1.0,
                error="",
                rollout_context={"rollout": rollout.id, "step": 0},
            )
        for log in logs:
            Ingestion(store, log.root, log).run()

    # Of failures before this gateway has looked for the first time it cannot know how long ago they were.
    failures(40)
    router = following(store)
    router.poll()
    assert versions(router) == {1, 2}
    failures(9)
    router.poll()
    assert versions(router) == {1, 2}
    failures(2)
    router.poll()
    assert versions(router) == {1}
    router.poll()
    assert "11 of 11" in store.get(rollout.id).state.reason
    assert router.route("churn") is None


def test_the_first_errors_in_the_store_count_where_none_were_before(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(), task())
    router = following(store)
    log = WriteAhead(str(tmp_path / "write-ahead"))
    log_failures(log, rollout, "candidate", 12)
    Ingestion(store, log.root, log).run()
    router.poll()
    assert versions(router) == {1}


def test_sliding_windows_forget_by_the_second() -> None:
    clock = Clock()
    recent, totals = RecentErrors(10, clock), RecentTotals(10, clock)
    seen = []
    for second in range(30):
        clock.now = 1000.0 + second
        seen.append((recent.count(second % 2 == 0), totals.update(second, second // 2)))
    assert seen[-1] == ((10, 5), (10, 5))
    assert seen[4] == ((5, 3), (4, 2))


def test_an_outage_that_hits_both_versions_rolls_nothing_back(store: RolloutStore) -> None:
    rollout = store.start("churn", limited(), task())
    router = following(store)
    for _ in range(60):
        choice = route_of(router).choose()
        router.failed("churn", choice)
    router.poll()
    assert versions(router) == {1, 2}
    assert store.get(rollout.id).state.status == "running"
    # The outage is over, and the candidate alone goes on failing.
    for _ in range(400):
        choice = route_of(router).choose()
        if choice.version == 1:
            router.answered("churn", choice)
        else:
            router.failed("churn", choice)
    assert versions(router) == {1}


def test_a_champion_that_fails_now_and_then_does_not_excuse_the_candidate(store: RolloutStore) -> None:
    store.start("churn", limited(), task())
    router = following(store)
    champion = next(choice for choice in iter(route_of(router).choose, None) if choice.version == 1)
    for number in range(400):
        (router.failed if number % 100 == 0 else router.answered)("churn", champion)
    fail(router, 10)
    assert versions(router) == {1}


@pytest.mark.parametrize(("own", "others"), [((20, 11), (380, 120)), ((12, 9), (40, 12)), ((30, 30), (5, 4))])
def test_the_comparison_with_the_champion_is_fishers(own: tuple[int, int], others: tuple[int, int]) -> None:
    table = [[own[1], own[0] - own[1]], [others[1], others[0] - others[1]]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue >= 1e-4
    assert fails_like_champion(own, others) == expected


def test_the_hard_limit_holds_for_the_cohort_by_itself(store: RolloutStore, tmp_path: Path) -> None:
    staff = {"name": "X-Group", "values": ["staff"]}
    rollout = store.start("churn", limited(cohort=staff), task())
    router, other = following(store), following(store)
    cohort = RoutingRequest(in_cohort=True)
    choice = route_of(router).choose(cohort)
    assert (choice.version, choice.arm) == (2, "cohort")
    # Successes of the candidate elsewhere do not hide that the cohort gets errors only.
    for _ in range(1000):
        router.answered("churn", Choice(2, "candidate", 0.5, {"rollout": rollout.id, "step": 0}))
    for _ in range(9):
        router.failed("churn", choice)
    assert route_of(router).choose(cohort).version == 2
    router.failed("churn", choice)
    assert route_of(router).choose(cohort) == Choice(1, "champion", 1.0)
    router.poll()
    other.poll()
    assert other.route("churn") is None
    state = store.get(rollout.id).state
    assert state.status == "rolled_back"
    assert "10 of 10 requests of the cohort failed within 30 s in this gateway" in state.reason


def test_failures_of_the_cohort_in_other_gateways_are_seen_in_the_store(store: RolloutStore, tmp_path: Path) -> None:
    rollout = store.start("churn", limited(cohort={"name": "X-Group", "values": ["staff"]}), task())
    router, log = following(store), WriteAhead(str(tmp_path / "write-ahead"))
    log_failures(log, rollout, "cohort", 10)
    Ingestion(store, log.root, log).run()
    router.poll()
    router.poll()
    assert "10 of 10 requests of the cohort failed within 30 s in all gateways" in store.get(rollout.id).state.reason


def test_a_cohort_is_not_excused_by_a_champion_that_fails_too(store: RolloutStore) -> None:
    """The champion answers other people, so its failures say nothing about the cohort's."""
    rollout = store.start("churn", limited(cohort={"name": "X-Group", "values": ["staff"]}), task(), NOW)
    store.compare_and_set(rollout, transitions.next_step(rollout.plan, rollout.state, NOW, "task", "ok"))
    router = following(store)
    cohort = RoutingRequest(in_cohort=True)
    for _ in range(100):
        router.failed("churn", Choice(1, "champion", 0.5, {"rollout": rollout.id, "step": 1}))
    for _ in range(10):
        router.failed("churn", route_of(router).choose(cohort))
    assert route_of(router).choose(cohort).version == 1
