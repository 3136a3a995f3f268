"""Versions that fail, hang, do not load or refuse rows in a rollout: the gateway goes back by itself."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary, task
from tests.helpers.rollouts_in_gateway import HALF, Serve, ask, ask_for, begin, copies, counted, now, versions
from tests.helpers.serving.broken_versions import LARGE
from tests.helpers.serving.served_registry import CANCER, cancer_model, register


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
    # Each of the copies is counted by what came of it, or why it was lost.
    store.change(rollout.id, lambda seen: transitions.ended(seen.plan, seen.state, now(), "ada", "enough seen"))
    process.wait(lambda: sum(copies(process).values()) == 40, "all copies are counted")
    known = {"failed"} if version == 6 else {"timed_out", "hung", "dropped", "ended"}
    assert copies(process).keys() <= known
    logged = copies(process)["failed"] + copies(process)["timed_out"]
    process.wait(lambda: counted(store, rollout, "shadow").errors == logged, "what was logged counts")
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
    assert state.changed_by.startswith("gateway ")
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
    limits = {"min_requests": 1}
    rollout = begin(store, process, canary(candidates=[7], strategy=strategy, hard_limits=limits))
    # The champion predicts this row, and the candidate never comes back from it.
    process.wait(lambda: ask_for(process, LARGE).status_code == 503, "the candidate was asked")
    assert versions(ask(process, 10)) == {"1": 10}
    process.wait(lambda: counted(store, rollout, "candidate").errors == 1, "it counts against the candidate")
    assert counted(store, rollout, "candidate").requests == 1


def test_a_candidate_that_cannot_be_loaded_ends_the_rollout(serve: Serve, store: RolloutStore) -> None:
    process = serve()
    rollout = store.start("cancer", canary(candidates=[3], strategy=HALF), task())
    process.wait(lambda: store.get(rollout.id).state.status == "rolled_back", "it is rolled back")
    assert "version 3 cannot be loaded" in store.get(rollout.id).state.reason
    assert versions(ask(process, 20)) == {"1": 20}


def test_a_promoted_version_that_cannot_be_loaded_is_named_once_and_tried_ever_less_often(
    serve: Serve, store: RolloutStore
) -> None:
    rollout = store.start("cancer", canary(candidates=[3], strategy=HALF), task())
    store.change(rollout.id, lambda seen: transitions.promoted(seen.plan, seen.state, 3, now(), "ada", "it is better"))
    # As after a restart, while the task has not moved the alias yet.
    process = serve()
    ready = f"{process.url}/v2/health/ready"
    process.wait(lambda: httpx.get(ready).json()["failing"], "it is tried")
    failure = "Version 3 cannot be loaded"
    assert httpx.get(ready).json()["failing"][0].startswith(f"model 'cancer': {failure}")
    assert versions(ask(process, 20)) == {"1": 20}
    time.sleep(3.5)
    # Tried again after one second and after two more, by polls that come twice a second.
    text = process.log.read_text()
    assert len(re.findall(rf"ERROR .*Model cancer: {failure}", text)) == 1
    with process.client() as client:
        assert failure in client.model("cancer")["failures"]["3"]


def test_a_candidate_with_another_signature_is_to_blame_for_what_it_refuses(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    wider = CANCER.assign(another=1.0)
    model = cancer_model(1.0).fit(wider, CANCER.iloc[:, 0] > 14)
    assert register(registry, "cancer", model, wider, "6").version == 6
    process = serve()
    rollout = begin(store, process, canary(candidates=[6], strategy=HALF))
    answers = ask(process, 60)
    refused = [answer for answer in answers if answer.status_code == 422]
    assert refused
    assert "rejects a request that the champion accepts" in refused[0].text
    process.wait(lambda: counted(store, rollout, "candidate").errors == len(refused), "they count against it")
    # What neither takes is the caller's fault.
    body = {"instances": [[1.0]]}
    with httpx.Client() as client:
        assert {client.post(f"{process.url}/models/cancer/invocations", json=body).status_code for _ in range(30)} == {
            422
        }
    assert counted(store, rollout, "candidate").errors == len(refused)
