"""Whoever activates another version in the middle of a rollout is obeyed at once."""

from __future__ import annotations

import time
from pathlib import Path

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary, task
from tests.helpers.rollouts_in_gateway import BODY, HALF, Serve, ask, ask_for, begin, now, versions


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
        assert "version 2 was activated through the API" in store.get(rollout.id).state.reason
        time.sleep(1)
        assert versions(ask(process, 30)) == {"2": 30}


def test_whoever_takes_the_alias_away_is_obeyed_at_once(serve: Serve, store: RolloutStore, storage: Path) -> None:
    process = serve()
    rollout = begin(store, process, canary(strategy=HALF))
    assert set(versions(ask(process, 60))) == {"1", "2"}
    Registry(RegistrySettings(str(storage))).client.delete_registered_model_alias("cancer", "champion")
    process.wait(lambda: ask_for(process, BODY).status_code == 404, "nothing answers")
    assert {answer.status_code for answer in ask(process, 30)} == {404}
    process.wait(lambda: store.get(rollout.id).state.status == "ended", "the rollout has ended")
    assert store.get(rollout.id).state.reason == (
        "the champion was withdrawn during the rollout: someone removed its alias or withdrew the version"
    )


def test_after_a_promotion_whoever_goes_back_is_obeyed_at_once(
    serve: Serve, store: RolloutStore, storage: Path
) -> None:
    process = serve()
    aliases = Registry(RegistrySettings(str(storage))).client
    rollout = begin(store, process, canary(strategy=HALF))
    with process.client() as client:
        store.change(rollout.id, lambda seen: transitions.promoted(seen.plan, seen.state, 2, now(), "ada", "better"))
        process.wait(lambda: client.model("cancer")["rollout"]["status"] == "promoted", "it is promoted")
        # The task moves the alias and says so to the gateway before it settles the end.
        aliases.set_registered_model_alias("cancer", "champion", "2")
        client.activate("cancer", 2, champion=True)
        assert versions(ask(process, 10)) == {"2": 10}
        aliases.set_registered_model_alias("cancer", "champion", "1")
        client.activate("cancer", 1, champion=True)
        assert versions(ask(process, 10)) == {"1": 10}
        done = store.change(rollout.id, lambda seen: transitions.settled(seen.state, now(), task()))
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
