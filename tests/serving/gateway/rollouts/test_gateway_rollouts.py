"""Rollouts in a running gateway: who answers, and what is logged and counted of it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import httpx

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary, task
from tests.helpers.rollouts_in_gateway import BODY, HALF, Serve, ask, begin, counted, log, now, versions
from tests.helpers.serving.live_gateway import LiveGateway

V2 = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": BODY["instances"][0]}]}


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

    store.change(rollout.id, lambda seen: transitions.promoted(seen.plan, seen.state, 2, now(), "ada", "it is better"))
    with process.client() as client:
        process.wait(lambda: client.model("cancer")["rollout"]["status"] == "promoted", "it is promoted")
        assert versions(ask(process, 20)) == {"2": 20}
        # The task moves the alias and settles the end; at no time the old champion comes back.
        Registry(RegistrySettings(str(storage))).client.set_registered_model_alias("cancer", "champion", "2")
        store.change(rollout.id, lambda seen: transitions.settled(seen.state, now(), task()))
        until = time.monotonic() + 7
        while time.monotonic() < until:
            assert versions(ask(process, 5)) == {"2": 5}
        assert client.model("cancer")["rollout"] is None
        assert client.model("cancer")["active"] == 2
    assert process.stop() == 0


def test_the_same_user_gets_the_same_version_also_after_a_kill(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    plan = canary(
        strategy={"kind": "ab", "candidate_share": 0.5},
        gates=[{"kind": "metric"}],
        reward={"binary": True},
        sticky={"source": "header", "name": "X-User"},
    )
    process = serve()
    rollout = begin(store, process, plan)

    def of_users(process: LiveGateway) -> dict[int, str]:
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
    plan = canary(strategy={"kind": "shadow", "max_waiting": 1000}, gates=[{"kind": "agreement"}])
    rollout = begin(store, process, plan)
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


def test_a_contextual_bandit_learns_and_remembers(serve: Serve, store: RolloutStore, storage: Path) -> None:
    plan = canary(
        strategy={
            "kind": "contextual_bandit",
            "features": [
                {"kind": "category", "name": "X-Segment", "source": "header", "values": ["old", "young"]},
                {"kind": "number", "name": "mean radius", "center": 14.0, "scale": 3.5},
            ],
            "min_propensity": 0.05,
        },
        reward={"binary": True},
        gates=[],
        hard_limits=None,
    )
    process = serve()
    rollout = begin(store, process, plan)

    def chosen(process: LiveGateway, segment: str, requests: int) -> list[httpx.Response]:
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
