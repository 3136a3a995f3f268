from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.hooks.rollout_store import rollout_store, rollout_store_url
from airflow_provider_mlops.sensors.rollout_finished import RolloutFinishedSensor
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.triggers.rollout_finished import RolloutFinishedTrigger
from tests.helpers.airflow.session import roundtrip
from tests.helpers.rollouts import canary, task

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(storage: Path) -> Iterator[RolloutStore]:
    with contextlib.closing(rollout_store()) as store:
        yield store


def begin(store: RolloutStore, run: str = "run-1", after: int = 0) -> Rollout:
    return store.start("churn", canary(), task(run), NOW + timedelta(minutes=after))


def roll_back(store: RolloutStore, rollout: Rollout) -> None:
    store.change(
        rollout.id, lambda seen: transitions.rolled_back(seen.plan, seen.state, NOW, "gateway", "too many errors")
    )


def dag(name: str) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


class TestWhereItLooks:
    def test_the_default_lies_in_the_storage(self, storage):
        assert rollout_store_url() is None
        with contextlib.closing(rollout_store()) as store:
            assert store.engine.address == f"sqlite:///{storage}/rollouts.db"

    def test_the_configuration_says_otherwise(self, monkeypatch, storage):
        monkeypatch.setenv("AIRFLOW__MLOPS__ROLLOUT_STORE_URL", "postgresql://mlops:hush@127.0.0.1:1/x")
        assert rollout_store_url() == "postgresql://mlops:hush@127.0.0.1:1/x"
        trigger = RolloutFinishedTrigger(model_name="churn")
        assert "hush" not in str(trigger.serialize())
        with pytest.raises(BackendUnavailableError):
            trigger.check()


class TestLooking:
    def test_a_rollout_that_is_rolled_back(self, store):
        rollout = begin(store)
        by_id, by_model = RolloutFinishedTrigger(rollout=rollout.id), RolloutFinishedTrigger(model_name="churn")
        assert by_id.check() is by_model.check() is None
        roll_back(store, rollout)
        over = {"rollout": rollout.id, "model_name": "churn", "status": "rolled_back", "version": 1}
        assert by_id.check() == by_model.check() == {**over, "reason": "too many errors"}

    def test_a_promotion_is_over_once_the_alias_is_there(self, store):
        rollout = begin(store)
        trigger = RolloutFinishedTrigger(rollout=rollout.id)
        store.change(rollout.id, lambda r: transitions.promoted(r.plan, r.state, 2, NOW, "task", "better"))
        assert trigger.check() is None
        store.change(rollout.id, lambda r: transitions.settled(r.state, NOW, task()))
        assert (trigger.check()["status"], trigger.check()["version"]) == ("promoted", 2)

    def test_what_it_has_seen_begin_it_sees_to_its_end(self, store):
        """Also across a restart, and when the next one has begun by then."""
        first = begin(store)
        trigger = RolloutFinishedTrigger(model_name="churn")
        assert trigger.check() is None
        roll_back(store, first)
        begin(store, "run-2", after=5)
        assert roundtrip(trigger).check()["rollout"] == first.id
        assert RolloutFinishedTrigger(model_name="churn").check() is None

    def test_only_rollouts_from_then_on(self, store):
        roll_back(store, begin(store))
        second = begin(store, "run-2", after=5)
        roll_back(store, second)
        roll_back(store, begin(store, "run-3", after=10))
        trigger = RolloutFinishedTrigger(model_name="churn", since="2026-01-01T00:05:00")
        assert trigger.check()["rollout"] == second.id

    def test_there_is_no_such_rollout(self, store):
        with pytest.raises(InvalidSpecError, match="rollout='gone'"):
            RolloutFinishedTrigger(rollout="gone").check()
        with pytest.raises(InvalidSpecError, match=r"model_name='churn'.*wait_for_start"):
            RolloutFinishedTrigger(model_name="churn").check()
        assert RolloutFinishedTrigger(model_name="churn", wait_for_start=True).check() is None
        rollout = begin(store)
        with pytest.raises(InvalidSpecError, match="a rollout of the model 'churn'"):
            RolloutFinishedTrigger(model_name="price", rollout=rollout.id).check()
        with pytest.raises(InvalidSpecError, match="2026-02-01"):
            RolloutFinishedTrigger(model_name="churn", since="2026-02-01").check()

    def test_as_a_watcher_it_fires_once_a_rollout(self, store):
        roll_back(store, begin(store))

        async def scenario() -> list[Any]:
            events = RolloutFinishedTrigger(model_name="churn", poke_interval=0.05).run()
            first = await asyncio.wait_for(anext(events), 20)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            roll_back(store, begin(store, "run-2", after=5))
            return [first.payload["rollout"], (await asyncio.wait_for(waiting, 20)).payload["rollout"]]

        assert len(set(asyncio.run(scenario()))) == 2


class TestSensor:
    def test_exactly_what_it_needs(self):
        with pytest.raises(InvalidSpecError, match="model_name or rollout"):
            RolloutFinishedSensor(task_id="wait")
        with pytest.raises(InvalidSpecError, match="since"):
            RolloutFinishedSensor(task_id="wait", rollout="r", wait_for_start=True)

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_it_fails_at_once_where_there_is_none(self, run_dag, deferrable):
        with dag(f"no_rollout_{deferrable}") as built:
            RolloutFinishedSensor(task_id="wait", model_name="churn", deferrable=deferrable, retries=2)
        ran = run_dag(built)
        assert (ran.state, ran.task("wait").try_number) == ("failed", 1)

    def test_it_waits_for_one_to_begin_and_to_end(self, run_dag, store):
        with dag("rollout") as built:
            RolloutFinishedSensor(
                task_id="wait",
                model_name="{{ 'churn' }}",
                since="{{ macros.datetime(2026, 1, 1) }}",
                wait_for_start=True,
                poke_interval=0.2,
                deferrable=True,
            )
        timer = threading.Timer(3, lambda: roll_back(store, begin(store)))
        timer.start()
        ran = run_dag(built)
        timer.join()
        assert ran.state == "success"
        assert ran.xcoms("wait")["return_value"]["status"] == "rolled_back"
