"""Rollouts in a running gateway: who answers, what is logged and counted of it, and how it goes back by itself."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutSpec
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.serving.gateway_process import GatewayProcess
from tests.serving.rollout_in_test import canary, task
from tests.serving.served_registry import CANCER, cancer_model, register, register_pickled

BODY = {"instances": CANCER.head(1).to_numpy().tolist()}

V2 = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": BODY["instances"][0]}]}

Serve = Callable[..., GatewayProcess]


@pytest.fixture
def store(storage: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(storage)))
    yield store
    store.close()


@pytest.fixture
def serve(storage: Path) -> Iterator[Serve]:
    """Starts a gateway for the model `cancer`, as often as it is called."""
    running: list[GatewayProcess] = []

    def start(*options: str, **environment: str) -> GatewayProcess:
        process = GatewayProcess(storage, "--model", "cancer", *options, environment=environment)
        running.append(process)
        return process.wait_until_ready()

    yield start
    for process in running:
        process.kill()


def begin(store: RolloutStore, process: GatewayProcess, spec: RolloutSpec) -> Rollout:
    """Start a rollout and wait until the gateway follows it."""
    rollout = store.start("cancer", spec, task())
    with process.client() as client:
        process.wait(lambda: (client.model("cancer")["rollout"] or {}).get("id") == rollout.id, "it is followed")
    return rollout


def ask(process: GatewayProcess, requests: int, **options: Any) -> list[httpx.Response]:
    with httpx.Client(timeout=30) as client:
        return [client.post(f"{process.url}/models/cancer/invocations", json=BODY, **options) for _ in range(requests)]


def ask_for(process: GatewayProcess, body: Any) -> httpx.Response:
    return httpx.post(f"{process.url}/models/cancer/invocations", json=body, timeout=30)


def versions(answers: list[httpx.Response]) -> Counter[str]:
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers][:3]
    return Counter(answer.headers["x-model-version"] for answer in answers)


def counted(store: RolloutStore, rollout: Rollout, arm: str) -> ArmStatistics:
    """What the store has of an arm, over all steps."""
    found = [sums for (_, name), sums in store.statistics(rollout.id).items() if name == arm]
    return sum(found, ArmStatistics())


def log(storage: Path) -> pd.DataFrame:
    return prediction_log.read(str(storage), "cancer").execute()


HALF = {"kind": "canary", "steps": [0.5, 1.0]}


def test_a_canary_from_its_start_to_its_promotion(serve: Serve, store: RolloutStore, storage: Path) -> None:
    process = serve()
    assert versions(ask(process, 5)) == {"1": 5}
    rollout = begin(store, process, canary(strategy=HALF))
    answers = versions(ask(process, 200))
    # 200 fair draws lie outside of 60 to 140 once in 10^8 times.
    assert answers.total() == 200
    assert 60 < answers["2"] < 140
    process.wait(
        lambda: (
            counted(store, rollout, "candidate").requests == answers["2"]
            and counted(store, rollout, "champion").requests == answers["1"]
        ),
        "all is counted",
    )
    logged = log(storage)
    of_rollout = logged[logged["rollout"] == rollout.id]
    assert Counter(of_rollout["arm"]) == {"candidate": answers["2"], "champion": answers["1"]}
    assert set(of_rollout["propensity"]) == {0.5}
    # Whoever names a version is no part of it.
    pinned = httpx.post(f"{process.url}/v2/models/cancer/versions/2/infer", json=V2)
    assert pinned.status_code == 200
    assert "2" in pinned.headers["x-model-version"]
    text = httpx.get(f"{process.url}/metrics").text
    assert 'mlops_weight{arm="candidate",model="cancer",version="2"} 0.5' in text

    store.change(rollout.id, lambda seen: transitions.promoted(seen.spec, seen.state, 2, now(), "ada", "it is better"))
    with process.client() as client:
        process.wait(lambda: client.model("cancer")["rollout"]["status"] == "promoted", "it is promoted")
        assert versions(ask(process, 20)) == {"2": 20}
        # The task moves the alias and settles the end; at no time the old champion comes back.
        Registry(None, storage_uri=str(storage)).client.set_registered_model_alias("cancer", "champion", "2")
        store.change(rollout.id, lambda seen: transitions.settled(seen.state, now(), "ada"))
        until = time.monotonic() + 7
        while time.monotonic() < until:
            assert versions(ask(process, 5)) == {"2": 5}
        assert client.model("cancer")["rollout"] is None
        assert client.model("cancer")["active"] == 2
    assert process.stop() == 0


def test_the_same_user_gets_the_same_version_also_after_a_kill(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    spec = canary(
        strategy={"kind": "ab", "candidate_share": 0.5}, gates=[{"kind": "metric"}],
        reward={"binary": True}, sticky={"source": "header", "name": "X-User"},
    )  # fmt: skip
    process = serve()
    rollout = begin(store, process, spec)

    def of_users(process: GatewayProcess) -> dict[int, str]:
        found = {}
        for user in range(40):
            (version,) = versions(ask(process, 3, headers={"X-User": f"user-{user}"}))
            found[user] = version
        return found

    before = of_users(process)
    assert set(before.values()) == {"1", "2"}
    (answer,) = ask(process, 1, headers={"X-User": "user-0"})
    process.kill()
    again = serve()
    with again.client() as client:
        again.wait(lambda: client.model("cancer")["rollout"], "the rollout goes on")
        assert of_users(again) == before
        # Feedback for an answer of the process that was killed, twice.
        for _ in range(2):
            client.reward(answer.headers["x-prediction-id"], 1.0)
    again.wait(
        lambda: sum(counted(store, rollout, arm).reward_count for arm in ("champion", "candidate")) == 1, "it counts"
    )
    total = sum(counted(store, rollout, arm).requests for arm in ("champion", "candidate"))
    assert total == 2 * 120 + 1 == len(log(storage))


def test_a_shadow_is_compared_and_never_seen(serve: Serve, store: RolloutStore, storage: Path) -> None:
    process = serve()
    spec = canary(strategy={"kind": "shadow", "maximum_waiting": 1000}, gates=[{"kind": "agreement"}])
    rollout = begin(store, process, spec)
    assert versions(ask(process, 150)) == {"1": 150}
    process.wait(lambda: counted(store, rollout, "shadow").requests == 150, "all copies are counted")
    shadow = counted(store, rollout, "shadow")
    assert shadow.errors == 0
    assert shadow.compared == 150
    assert 0 < sum(shadow.latency.values()) <= 150
    # Both versions say the same of this row.
    assert shadow.agreed == 150
    logged = log(storage)
    copies = logged[logged["arm"] == "shadow"]
    assert set(copies["version"]) == {2}
    assert set(copies["shadow_of"]) <= set(logged["prediction_id"])
    assert len(set(copies["shadow_of"])) == 150
    text = httpx.get(f"{process.url}/metrics").text
    assert 'mlops_shadow_copies_total{model="cancer",outcome="answered",version="2"} 150.0' in text


BROKEN = """
import time

import numpy as np
from sklearn.base import BaseEstimator


class Broken(BaseEstimator):
    def __init__(self, hangs=False):
        self.hangs = hangs

    def predict(self, features):
        if np.asarray(features)[:, 0].max() > 500:
            if self.hangs:
                time.sleep(3600)
            raise RuntimeError("I am broken")
        return np.ones(len(features), dtype=int)
"""
LARGE = {"instances": [[1000.0, *CANCER.iloc[0, 1:].tolist()]]}
"""A row on which the broken versions break."""


@pytest.fixture
def broken(storage: Path, tmp_path: Path) -> dict[str, str]:
    """Version 6 fails and version 7 hangs on some rows. Returns the environment in which they can be loaded."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "broken.py").write_text(BROKEN)
    sys.path.insert(0, str(modules))
    try:
        import broken  # type: ignore[import-not-found]

        registry = Registry(None, storage_uri=str(storage))
        for number, hangs in ((6, False), (7, True)):
            directory = tmp_path / str(number)
            directory.mkdir()
            assert register_pickled(registry, "cancer", broken.Broken(hangs), directory).version == number
    finally:
        sys.path.remove(str(modules))
        sys.modules.pop("broken", None)
    return {"PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize(("version", "reason"), [(6, "RuntimeError: I am broken"), (7, "no answer within 0.3 seconds")])
def test_a_shadow_that_breaks_is_nobodys_problem(
    serve: Serve, store: RolloutStore, broken: dict[str, str], version: int, reason: str
) -> None:
    process = serve("--allow-pickle", **broken)
    strategy = {"kind": "shadow", "timeout_seconds": 0.3}
    rollout = begin(store, process, canary(candidates=[version], strategy=strategy, hard_limits=None))
    with httpx.Client(timeout=2) as client:
        for _ in range(40):
            answer = client.post(f"{process.url}/models/cancer/invocations", json=LARGE)
            assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1")
    process.wait(lambda: counted(store, rollout, "shadow").errors > 0, "failures are counted")
    shadow = counted(store, rollout, "shadow")
    assert shadow.errors == shadow.requests
    assert counted(store, rollout, "champion").errors == 0
    segments = [file.read_text() for file in (process.storage / "write-ahead").rglob("*.jsonl")]
    assert any(reason in text for text in segments)
    assert process.stop() == 0


def test_a_candidate_that_fails_is_taken_back_within_a_second(
    serve: Serve, store: RolloutStore, broken: dict[str, str], storage: Path
) -> None:
    process = serve("--allow-pickle", **broken)
    rollout = begin(store, process, canary(candidates=[6], strategy=HALF))
    url = f"{process.url}/models/cancer/invocations"
    failed, answered, last_failure, first = 0, 0, 0.0, 0.0
    with httpx.Client(timeout=30) as client:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            answer = client.post(url, json=LARGE)
            assert answer.status_code in (200, 500)
            if answer.status_code == 500:
                failed, last_failure = failed + 1, time.monotonic()
                first = first or last_failure
            else:
                answered += 1
    # The limit is 20 requests, and it was passed at the twentieth: no request came to the candidate after that.
    assert failed == 20
    assert answered > 20
    assert last_failure - first < 2
    state = store.get(rollout.id).state
    assert state.status == "rolled_back"
    assert "hard limit" in state.reason
    assert state.by.startswith("gateway ")
    process.wait(lambda: counted(store, rollout, "candidate").errors == 20, "the failures are counted")
    assert counted(store, rollout, "candidate").requests == 20
    # Whatever is asked now goes to the champion, also after a start.
    process.kill()
    assert versions(ask(serve("--allow-pickle", **broken), 20)) == {"1": 20}


def test_a_candidate_that_hangs_does_not_take_the_champion_with_it(
    serve: Serve, store: RolloutStore, broken: dict[str, str]
) -> None:
    process = serve("--allow-pickle", "--predict-seconds", "1", **broken)
    strategy = {"kind": "canary", "steps": [0.5, 1.0]}
    limits = {"minimum_requests": 1}
    with process.client() as client:
        client.activate("cancer", 6)
    rollout = begin(store, process, canary(champion=6, candidates=[7], strategy=strategy, hard_limits=limits))
    # The champion refuses this row at once, and the candidate never comes back from it.
    process.wait(lambda: ask_for(process, LARGE).status_code == 503, "the candidate was asked")
    assert versions(ask(process, 10)) == {"6": 10}
    process.wait(lambda: counted(store, rollout, "candidate").errors == 1, "it counts against the candidate")
    assert counted(store, rollout, "candidate").requests == 1


def test_whoever_activates_another_version_is_obeyed_at_once(serve: Serve, store: RolloutStore) -> None:
    process = serve("--workers", "2")
    rollout = begin(store, process, canary(strategy=HALF))
    with process.client() as client:
        client.load("cancer", 2)
        # Version 1 is active already: that is no change.
        client.activate("cancer", 1)
        time.sleep(1)
        assert store.get(rollout.id).state.status == "running"
        client.activate("cancer", 2)
        assert versions(ask(process, 30)) == {"2": 30}
        process.wait(lambda: store.get(rollout.id).state.status == "ended", "the rollout has ended")
        assert "version 2 was activated" in store.get(rollout.id).state.reason
        time.sleep(1)
        assert versions(ask(process, 30)) == {"2": 30}


def test_after_a_promotion_whoever_goes_back_is_obeyed_at_once(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    process = serve()
    aliases = Registry(None, storage_uri=str(storage)).client
    rollout = begin(store, process, canary(strategy=HALF))
    with process.client() as client:
        store.change(rollout.id, lambda seen: transitions.promoted(seen.spec, seen.state, 2, now(), "ada", "better"))
        process.wait(lambda: client.model("cancer")["rollout"]["status"] == "promoted", "it is promoted")
        # The task moves the alias and says so to the gateway before it settles the end.
        aliases.set_registered_model_alias("cancer", "champion", "2")
        client.activate("cancer", 2, champion=True)
        assert versions(ask(process, 10)) == {"2": 10}
        aliases.set_registered_model_alias("cancer", "champion", "1")
        client.activate("cancer", 1, champion=True)
        assert versions(ask(process, 10)) == {"1": 10}
        done = store.change(rollout.id, lambda seen: transitions.settled(seen.state, now(), "ada"))
        time.sleep(1)
        assert versions(ask(process, 10)) == {"1": 10}
        assert store.get(rollout.id) == done


def test_a_gateway_that_was_behind_obeys_as_any_other(serve: Serve, store: RolloutStore) -> None:
    process = serve()
    with process.client() as client:
        client.activate("cancer", 2)
        rollout = begin(store, process, canary(strategy=HALF))
        assert set(versions(ask(process, 60))) == {"1", "2"}
        # It comes to the champion, and then somebody goes back.
        client.activate("cancer", 1)
        time.sleep(1)
        assert store.get(rollout.id).state.status == "running"
        client.activate("cancer", 2)
        assert versions(ask(process, 30)) == {"2": 30}
        process.wait(lambda: store.get(rollout.id).state.status == "ended", "the rollout has ended")


def test_a_candidate_that_cannot_be_loaded_ends_the_rollout(serve: Serve, store: RolloutStore) -> None:
    process = serve()
    rollout = store.start("cancer", canary(candidates=[3], strategy=HALF), task())
    process.wait(lambda: store.get(rollout.id).state.status == "rolled_back", "it is rolled back")
    assert "version 3 cannot be loaded" in store.get(rollout.id).state.reason
    assert versions(ask(process, 20)) == {"1": 20}


def test_a_candidate_with_another_signature_is_to_blame_for_what_it_refuses(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    registry = Registry(None, storage_uri=str(storage))
    wider = CANCER.assign(another=1.0)
    model = cancer_model(1.0).fit(wider, CANCER.iloc[:, 0] > 14)
    assert register(registry, "cancer", model, wider, "6").version == 6
    process = serve()
    rollout = begin(store, process, canary(candidates=[6], strategy=HALF))
    answers = ask(process, 60)
    refused = [answer for answer in answers if answer.status_code == 422]
    assert refused
    assert "does not take what the champion takes" in refused[0].text
    process.wait(lambda: counted(store, rollout, "candidate").errors == len(refused), "they count against it")
    # What neither takes is the caller's fault.
    body = {"instances": [[1.0]]}
    with httpx.Client() as client:
        assert {client.post(f"{process.url}/models/cancer/invocations", json=body).status_code for _ in range(30)} == {
            422
        }
    assert counted(store, rollout, "candidate").errors == len(refused)


def test_a_contextual_bandit_learns_and_remembers(serve: Serve, store: RolloutStore, storage: Path) -> None:
    spec = canary(
        strategy={
            "kind": "contextual_bandit",
            "features": [
                {"kind": "category", "name": "X-Segment", "source": "header", "values": ["old", "young"]},
                {"kind": "number", "name": "mean radius", "centre": 14.0, "scale": 3.5},
            ],
            "minimum_propensity": 0.05,
        },
        reward={"binary": True}, gates=[], hard_limits=None,
    )  # fmt: skip
    process = serve()
    rollout = begin(store, process, spec)

    def chosen(process: GatewayProcess, segment: str, requests: int) -> list[httpx.Response]:
        return ask(process, requests, headers={"X-Segment": segment})

    # The young like version 2, and the old version 1.
    liked = {"young": "2", "old": "1"}
    with process.client() as client:
        for _ in range(6):
            for segment, version in liked.items():
                for answer in chosen(process, segment, 10):
                    is_liked = answer.headers["x-model-version"] == version
                    client.reward(answer.headers["x-prediction-id"], float(is_liked))
            seen = sum(counted(store, rollout, arm).requests for arm in ("champion", "candidate"))
            process.wait(
                lambda seen=seen: (
                    sum(counted(store, rollout, arm).reward_count for arm in ("champion", "candidate")) >= seen
                ),
                "the rewards are ingested",
            )
    process.wait(
        lambda: sum(counted(store, rollout, arm).reward_count for arm in ("champion", "candidate")) == 120, "all"
    )
    process.kill()
    again = serve()
    with again.client() as client:
        again.wait(lambda: client.model("cancer")["rollout"], "the rollout goes on")
    for segment, version in liked.items():
        assert versions(chosen(again, segment, 60))[version] > 40
    logged = log(storage)
    logged = logged[logged["rollout"] == rollout.id]
    assert {'{"X-Segment":"young"', '{"X-Segment": "young"'} & {text.split(",")[0] for text in logged["context"]}
    assert logged["propensity"].between(0.049, 0.951).all()
    assert logged["reward"].notna().sum() == 120


def test_two_workers_share_one_rollout(serve: Serve, store: RolloutStore) -> None:
    process = serve("--workers", "2")
    process.wait(lambda: process.log.read_text().count("startup complete") == 2, "both workers listen")
    rollout = store.start("cancer", canary(strategy=HALF), task())

    def followed() -> bool:
        # Each on a connection of its own, so that both workers are asked.
        with process.client() as client:
            return (client.model("cancer")["rollout"] or {}).get("id") == rollout.id

    process.wait(lambda: all(followed() for _ in range(20)), "both workers follow")
    answers = [httpx.post(f"{process.url}/models/cancer/invocations", json=BODY, timeout=30) for _ in range(60)]
    found = versions(answers)
    assert found["1"] > 10
    assert found["2"] > 10
    process.wait(
        lambda: (
            [counted(store, rollout, arm).requests for arm in ("champion", "candidate")] == [found["1"], found["2"]]
        ),
        "the counts of both workers are added up",
    )


def test_without_a_prediction_log_what_belongs_to_a_rollout_is_logged(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    process = serve("--no-prediction-log")
    ask(process, 10)
    rollout = begin(store, process, canary(strategy=HALF))
    ask(process, 15)
    process.wait(lambda: len(log(storage)) == 15, "they are logged")
    assert set(log(storage)["rollout"]) == {rollout.id}


def now() -> datetime:
    return datetime.now(UTC)
