"""The order in which champions are loaded, and what waits for a version that takes long."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from typing_extensions import override

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.models import champion_follower, model_source, served_models, version_loader
from airflow_provider_mlops.serving.models.champion_follower import ChampionFollower
from airflow_provider_mlops.serving.models.crash_list import CrashList
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import Aliases, ModelSource, RegistrySource
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.rows.request_error import RequestError


class ManyChampions(ModelSource):
    """Version 1 of `cancer` under many names, loaded one by one when the test says so."""

    def __init__(self, storage: Path, names: list[str]) -> None:
        self._source = RegistrySource(Registry(RegistrySettings(str(storage))))
        self.names = names
        self.order: list[str] = []
        self.go_on = threading.Semaphore(0)

    def holds(self, name: str) -> bool:
        return True

    @override
    def aliases(self) -> dict[str, Aliases]:
        return dict.fromkeys(self.names, Aliases(1, None))

    @override
    def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        self.order.append(name)
        assert not self.holds(name) or self.go_on.acquire(timeout=60)
        return self._source.load("cancer", 1)


async def until(condition: object) -> None:
    assert callable(condition)
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition does not hold")


def test_each_champion_answers_as_soon_as_it_is_loaded_and_requested_ones_come_first(storage: Path) -> None:
    names = [f"model {number:02d}" for number in range(20)]
    source = ManyChampions(storage, names)
    served = ServedModels(source)
    follower = ChampionFollower(source, served)

    async def start() -> None:
        await follower.look_up()
        following = asyncio.create_task(follower.follow())
        at_once = served_models.CHAMPIONS_AT_ONCE
        await until(lambda: len(source.order) == at_once)
        with pytest.raises(RequestError, match="loading its models") as refused:
            served.get("model 17")
        assert refused.value.status == 503
        assert "20 of 20 champions not loaded yet" in follower.waiting_for()[0]
        source.go_on.release()
        await until(lambda: len(source.order) == at_once + 1)
        assert source.order[-1] == "model 17"
        first = next(name for name in names if name in {model.name for model in served.all()})
        assert served.get(first).active == 1
        assert follower.waiting_for()
        for _ in names:
            source.go_on.release()
        await following
        assert follower.waiting_for() == []
        assert all(served.get(name).active == 1 for name in names)

    try:
        asyncio.run(start())
    finally:
        follower.close()
        served.close()


def test_who_waits_for_a_version_is_told_that_the_gateway_stops(storage: Path) -> None:
    source = ManyChampions(storage, [])
    served = ServedModels(source)
    follower = ChampionFollower(source, served)

    async def stop() -> None:
        waiting = [asyncio.create_task(served.load("cancer", 1)) for _ in range(2)]
        await until(lambda: source.order)
        served.stop_loading()
        for load in waiting:
            with pytest.raises(RequestError, match="the gateway is stopping") as refused:
                await load
            assert refused.value.status == 503
        # Both waited for one attempt.
        assert source.order == ["cancer"]
        source.go_on.release()

    try:
        asyncio.run(stop())
    finally:
        follower.close()
        served.close()


def test_a_version_that_hangs_while_it_is_loaded_is_reported_and_does_not_block_the_others(
    storage: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, read = threading.Event(), model_source.read_version

    def read_version(registry: Registry, version: ModelVersion, directory: Path, *, allow_pickle: bool) -> LoadedModel:
        assert version.version != 1 or go_on.wait(60)
        return read(registry, version, directory, allow_pickle=allow_pickle)

    monkeypatch.setattr(model_source, "read_version", read_version)
    monkeypatch.setattr(model_source, "_TURN_SECONDS", 0.1)
    monkeypatch.setattr(version_loader, "_WAIT_SECONDS", 1.0)
    source = RegistrySource(Registry(RegistrySettings(str(storage))))
    served = ServedModels(source)
    follower = ChampionFollower(source, served)
    late = "Version 1 of the model 'cancer' is not loaded yet after 1 s"

    async def load() -> None:
        first = asyncio.create_task(served.load("cancer", 1))
        for _ in range(2):
            with pytest.raises(RequestError, match=late) as refused:
                await first
            assert refused.value.status == 503
            first = asyncio.create_task(served.load("cancer", 1))
        first.cancel()
        assert late in follower.failing([("cancer", 1)])[0]
        # More than there were threads.
        await asyncio.gather(*(served.load("cancer", 2) for _ in range(20)))
        assert served.is_loaded("cancer", 2)
        go_on.set()
        await until(lambda: served.is_loaded("cancer", 1))
        assert follower.failing([("cancer", 1)]) == []

    try:
        asyncio.run(load())
    finally:
        go_on.set()
        follower.close()
        served.close()
    assert len([record for record in caplog.records if late in record.getMessage()]) == 1


def test_a_champion_that_takes_long_does_not_delay_the_others(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion_follower, "_FOLLOW_SECONDS", 0.1)
    source = ManyChampions(storage, ["slow"])
    served = ServedModels(source)
    follower = ChampionFollower(source, served)

    async def follow() -> None:
        await follower.poll()
        assert source.order == ["slow"]
        # As after another of its versions was loaded for a rollout.
        with pytest.raises(RequestError, match="loading its models") as refused:
            served.expect("slow").choose(None)
        assert refused.value.status == 503
        source.names.append("quick")
        monkeypatch.setattr(source, "holds", lambda name: name == "slow")
        await follower.poll()
        await until(lambda: served.is_loaded("quick", 1))
        await follower.poll()
        assert (source.order, served.get("quick").active) == (["slow", "quick"], 1)
        assert "1 of 2 champions" in follower.waiting_for()[0]
        source.go_on.release()
        await until(lambda: served.is_loaded("slow", 1))
        await follower.poll()
        assert follower.waiting_for() == []

    try:
        asyncio.run(follow())
    finally:
        source.go_on.release()
        follower.close()
        served.close()


def test_who_waits_while_mlflow_is_silent_is_told_so_and_the_version_is_loaded_later(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_loader, "_NO_ANSWER_SECONDS", 0.05)
    source = ManyChampions(storage, [])
    served = ServedModels(source)
    follower = ChampionFollower(source, served)

    async def wait() -> None:
        with pytest.raises(RequestError, match="MLflow has not answered for") as refused:
            await served.load("cancer", 1)
        assert refused.value.status == 503
        source.go_on.release()
        await until(lambda: served.is_loaded("cancer", 1))
        assert source.order == ["cancer"]

    try:
        asyncio.run(wait())
    finally:
        follower.close()
        served.close()


def test_a_version_that_was_deleted_no_longer_answers(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    source = RegistrySource(registry, ["cancer"])
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def delete() -> None:
        await follower.poll()
        await served.load("cancer", 2)
        assert served.get("cancer").choose(2)[0].version == 2
        registry.client.delete_model_version("cancer", "2")
        await follower.poll()
        with pytest.raises(RequestError, match="is not loaded"):
            served.get("cancer").choose(2)
        assert served.get("cancer").choose(None)[0].version == 1

    try:
        asyncio.run(delete())
    finally:
        follower.close()
        served.close()


def test_a_version_that_crashed_elsewhere_is_withdrawn_until_the_alias_moves_to_it_again(
    storage: Path, tmp_path: Path
) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    crashes = CrashList(str(tmp_path / "crashes.json"))
    source = RegistrySource(registry, ["cancer"], crashes=crashes)
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def crash() -> None:
        await follower.poll()
        version = served.get("cancer").choose(None)[1].version
        assert isinstance(version, ModelVersion)
        crashes.add(version, "predicting", "was ended by SIGSEGV")
        await follower.poll()
        with pytest.raises(RequestError, match="SIGSEGV"):
            served.get("cancer").choose(None)
        assert ["SIGSEGV" in reason for reason in follower.failing()] == [True]
        # The same alias, looked up again, asks for nothing.
        await follower.poll()
        assert served.get("cancer").active is None
        registry.client.set_registered_model_alias("cancer", "champion", "2")
        await follower.poll()
        assert served.get("cancer").active == 2
        registry.client.set_registered_model_alias("cancer", "champion", "1")
        await follower.poll()
        assert (served.get("cancer").active, follower.failing(), crashes.all()) == (1, [], [])

    try:
        asyncio.run(crash())
    finally:
        follower.close()
        served.close()
