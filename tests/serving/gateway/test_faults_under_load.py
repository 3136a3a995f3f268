"""Under load by `airflow-mlops traffic`: swaps, rollouts, a lost worker, a lost gateway, a store that goes away.

Counted are predictions and rewards that were acknowledged and are lost, and requests that failed: none beyond those in
flight at a kill, of which each connection has one at most. A disk that fills up is in `test_full_disk.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.postgresql_cluster import Cluster
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import HALF, begin, counted, now
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.traffic_process import TrafficProcess

CLIENTS = 6
REWARDED = {"strategy": HALF, "reward": {"binary": True}}


@pytest.fixture
def running() -> Iterator[list[LiveGateway | TrafficProcess]]:
    """What is killed at the end, whatever the test comes to."""
    found: list[LiveGateway | TrafficProcess] = []
    yield found
    for process in reversed(found):
        process.kill()


def check(storage: Path, *loads: TrafficProcess) -> None:
    """Nothing that was acknowledged is lost, and nothing is there twice."""
    log = prediction_log.read(str(storage), "cancer").execute()
    assert log["prediction_id"].is_unique
    answered = {name for load in loads for name in load.answered()}
    rewarded = {name for load in loads for name in load.rewarded()}
    failed = sum(load.failures().total() for load in loads)
    print(f"{len(answered)} answers and {len(rewarded)} rewards were acknowledged, {failed} requests failed")
    assert len(answered) > 50
    assert not answered - set(log["prediction_id"])
    assert not rewarded - set(log.loc[log["reward"].notna(), "prediction_id"])


def check_counted(
    storage: Path, store: RolloutStore, rollout: Rollout, process: LiveGateway, *, is_over: bool = False
) -> None:
    """The store has counted what is in the log, no more and no less, and of a rollout that is over no later rewards."""
    log = prediction_log.read(str(storage), "cancer").execute()
    of_rollout = log[log["rollout"] == rollout.id]
    for arm in ("champion", "candidate"):
        logged = of_rollout[of_rollout["arm"] == arm]
        rewarded = logged["reward"].notna().sum()

        def is_counted(arm: str = arm, requests: int = len(logged), rewarded: int = rewarded) -> bool:
            found = counted(store, rollout, arm)
            rewards = 0 < found.reward_count <= rewarded if is_over else found.reward_count == rewarded
            return found.requests == requests and rewards

        process.wait(is_counted, f"what the {arm} did is counted")


def test_swaps_and_a_canary_that_is_taken_back(
    storage: Path, tmp_path: Path, running: list[LiveGateway | TrafficProcess]
) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--compact-seconds", "1")
    running.append(process)
    process.wait_until_ready()
    store = RolloutStore(default_url(str(storage)))
    load = TrafficProcess(process.url, tmp_path / "load", CLIENTS)
    running.append(load)
    with process.client() as client:
        for version in (2, 1, 2, 1):
            assert client.activate("cancer", version)["active"] == version
            time.sleep(0.3)
    rollout = begin(store, process, canary(**REWARDED))
    process.wait(lambda: counted(store, rollout, "candidate").requests > 50, "it has evidence")
    store.change(rollout.id, lambda seen: transitions.next_step(seen.plan, seen.state, now(), "ada", "on"))
    process.wait(lambda: store.statistics(rollout.id).keys() & {(1, "candidate")}, "the next step has evidence")
    store.change(rollout.id, lambda seen: transitions.rolled_back(seen.plan, seen.state, now(), "ada", "no"))
    time.sleep(1)
    load.stop()
    assert not load.failures()
    check(storage, load)
    check_counted(storage, store, rollout, process, is_over=True)
    store.close()


def test_a_killed_worker(storage: Path, tmp_path: Path, running: list[LiveGateway | TrafficProcess]) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--workers", "2")
    running.append(process)
    process.wait_until_ready()
    process.wait(lambda: len(process.workers()) == 2, "there are two workers")
    store = RolloutStore(default_url(str(storage)))
    rollout = begin(store, process, canary(**REWARDED))
    load = TrafficProcess(process.url, tmp_path / "load", CLIENTS)
    running.append(load)
    time.sleep(1)
    victim = process.workers()[0]
    os.kill(victim, signal.SIGKILL)
    process.wait(lambda: len(process.workers()) == 2 and victim not in process.workers(), "it is replaced")
    time.sleep(1)
    load.stop()
    # Each connection to the dead worker fails once. Until the kernel has removed its socket, the next one may, too.
    assert load.failures().total() <= 2 * CLIENTS
    check(storage, load)
    check_counted(storage, store, rollout, process)
    store.close()


def test_a_killed_gateway(storage: Path, tmp_path: Path, running: list[LiveGateway | TrafficProcess]) -> None:
    store = RolloutStore(default_url(str(storage)))
    loads = []
    rollout: Rollout | None = None
    for number in range(2):
        process = LiveGateway.launch(storage, "--model", "cancer", "--compact-seconds", "0.5")
        running.append(process)
        process.wait_until_ready()
        if rollout is None:
            rollout = begin(store, process, canary(**REWARDED))
        load = TrafficProcess(process.url, tmp_path / f"load-{number}", CLIENTS)
        running.append(load)
        time.sleep(1.5)
        # What fails was in flight at the kill, or came when nobody was there.
        assert not load.failures()
        process.kill()
        load.kill()
        loads.append(load)
    last = LiveGateway.launch(storage, "--model", "cancer")
    running.append(last)
    last.wait_until_ready()
    check(storage, *loads)
    assert rollout is not None
    check_counted(storage, store, rollout, last)
    store.close()


def test_a_store_that_goes_away_and_comes_back(
    cluster: Cluster, storage: Path, tmp_path: Path, running: list[LiveGateway | TrafficProcess]
) -> None:
    process = LiveGateway.launch(
        storage, "--model", "cancer", "--compact-seconds", "0.5", "--rollout-store", cluster.url()
    )
    running.append(process)
    process.wait_until_ready()
    store = RolloutStore(cluster.url())
    rollout = begin(store, process, canary(**REWARDED))
    load = TrafficProcess(process.url, tmp_path / "load", CLIENTS)
    running.append(load)
    process.wait(lambda: counted(store, rollout, "candidate").requests > 50, "it has evidence")
    cluster.stop()
    try:
        time.sleep(2)
        before = len(load.answered())
        time.sleep(1)
        # Requests go on, by the last known weights, and so does feedback.
        assert len(load.answered()) > before
        with process.client() as client:
            assert "database" in client.model("cancer")["rollout"]["store_error"]
    finally:
        cluster.start()
    time.sleep(1)
    load.stop()
    assert not load.failures()
    check(storage, load)
    check_counted(storage, store, rollout, process)
    assert "candidate" in {arm for _, arm in store.statistics(rollout.id)}
    store.close()
