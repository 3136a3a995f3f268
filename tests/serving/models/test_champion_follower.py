"""Following the champion alias when it moves faster than the gateway looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.models.champion_follower import ChampionFollower
from airflow_provider_mlops.serving.models.crash_list import CrashList
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import Aliases, ModelSource, RegistrySource
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.rows.request_error import RequestError


class SlowSource(ModelSource):
    """A registry whose answer about the aliases can be held back after it was given."""

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self.waits = False
        self.looked, self.go_on = threading.Event(), threading.Event()

    def aliases(self) -> dict[str, Aliases]:
        aliases = self.source.aliases()
        if self.waits:
            self.looked.set()
            assert self.go_on.wait(30)
        return aliases

    def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        return self.source.load(name, version, again=again)


class CountingSource(ModelSource):
    """A registry that notes when it is asked to load which version."""

    def __init__(self, source: ModelSource, clock: Callable[[], float]) -> None:
        self.source = source
        self.clock = clock
        self.tried: list[tuple[float, int]] = []

    def aliases(self) -> dict[str, Aliases]:
        return self.source.aliases()

    def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        self.tried.append((self.clock(), version))
        return self.source.load(name, version, again=again)


def test_an_alias_that_moved_here_and_back_between_two_looks_is_followed(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    source = RegistrySource(registry, ["cancer"])
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def deploy_and_take_back() -> tuple[int | None, int | None]:
        await follower.poll()
        registry.client.set_registered_model_alias("cancer", "champion", "2")
        await served.activate("cancer", 2, champion=True)
        registry.client.set_registered_model_alias("cancer", "champion", "1")
        before = served.get("cancer").active
        await follower.poll()
        return before, served.get("cancer").active

    try:
        assert asyncio.run(deploy_and_take_back()) == (2, 1)
    finally:
        follower.close()
        served.close()


def test_a_look_from_before_an_activation_does_not_undo_it(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    source = SlowSource(RegistrySource(registry, ["cancer"]))
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def activate_while_looking() -> list[int | None]:
        await follower.poll()
        await served.load("cancer", 2)
        source.waits = True
        looking = asyncio.create_task(follower.poll())
        await asyncio.to_thread(source.looked.wait, 30)
        registry.client.set_registered_model_alias("cancer", "champion", "2")
        await served.activate("cancer", 2, champion=True)
        source.go_on.set()
        source.waits = False
        await looking
        active = [served.get("cancer").active]
        registry.client.set_registered_model_alias("cancer", "champion", "1")
        await follower.poll()
        return [*active, served.get("cancer").active]

    try:
        assert asyncio.run(activate_while_looking()) == [2, 1]
    finally:
        follower.close()
        served.close()


def test_an_alias_that_is_taken_away_is_followed(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    source = RegistrySource(registry, ["cancer"])
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def withdraw() -> list[int | None]:
        await follower.poll()
        active = [served.get("cancer").active]
        registry.client.delete_registered_model_alias("cancer", "champion")
        await follower.poll()
        active.append(served.get("cancer").active)
        # What is activated by hand while there is no champion stays, since no alias has moved.
        await served.activate("cancer", 2)
        await follower.poll()
        active.append(served.get("cancer").active)
        registry.client.set_registered_model_alias("cancer", "champion", "1")
        await follower.poll()
        return [*active, served.get("cancer").active]

    try:
        assert asyncio.run(withdraw()) == [1, None, 2, 1]
        assert follower.waiting_for() == []
    finally:
        follower.close()
        served.close()


def test_a_withdrawn_version_answers_only_where_it_is_named(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    source = RegistrySource(registry, ["cancer"])
    served = ServedModels(source, ["cancer"])
    follower = ChampionFollower(source, served)

    async def withdraw() -> None:
        await follower.poll()
        served.deactivate("cancer", 2)
        assert served.get("cancer").active == 1
        served.deactivate("cancer", 1)

    try:
        asyncio.run(withdraw())
        model = served.get("cancer")
        assert model.active is None
        assert model.choose(1)[0].version == 1
        with pytest.raises(RequestError, match="No version of the model 'cancer' is active"):
            model.choose(None)
        assert follower.waiting_for() == ["the model 'cancer' has no active version"]
    finally:
        follower.close()
        served.close()


def test_a_version_that_cannot_be_loaded_is_tried_ever_less_often(
    storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    now = [0.0]
    source = CountingSource(RegistrySource(registry, ["cancer"]), lambda: now[0])
    served = ServedModels(source, ["cancer"], load_backoff=LoadBackoff(lambda: now[0]))
    follower = ChampionFollower(source, served)

    async def follow() -> None:
        await follower.poll()
        registry.client.set_registered_model_alias("cancer", "champion", "3")
        for _ in range(40):
            now[0] += 0.5
            await follower.poll()
        assert follower.failing() == [f"model 'cancer': {served.get('cancer').failures[3]}"]
        # Another champion is loaded at once, and then nothing is wrong any more.
        registry.client.set_registered_model_alias("cancer", "champion", "2")
        await follower.poll()

    try:
        asyncio.run(follow())
    finally:
        follower.close()
        served.close()
    assert source.tried == [(0.0, 1), (0.5, 3), (1.5, 3), (3.5, 3), (7.5, 3), (15.5, 3), (20.0, 2)]
    assert (served.get("cancer").active, follower.failing(), follower.waiting_for()) == (2, [], [])
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage().partition(":")[0] for record in said] == ["Model cancer"]


class StandIns:
    """A gateway's models, with the aliases and the crashes that a test sets."""

    def __init__(self, storage: Path) -> None:
        self.registry = Registry(RegistrySettings(str(storage)))
        self.crashes = CrashList(str(storage / "crashes.json"))
        self.restart()

    def restart(self) -> None:
        source = RegistrySource(self.registry, ["cancer"], crashes=self.crashes)
        self.served = ServedModels(source, ["cancer"])
        self.follower = ChampionFollower(source, self.served)

    def point(self, **aliases: int) -> None:
        for alias, version in aliases.items():
            self.registry.client.set_registered_model_alias("cancer", alias, str(version))

    def crash(self, version: int) -> None:
        self.crashes.add(models.get(self.registry, "cancer", version), "predicting", "was ended by SIGSEGV")

    async def active(self) -> int | None:
        for _ in range(2):
            await self.follower.poll()
        return self.served.get("cancer").active

    def close(self) -> None:
        self.follower.close()
        self.served.close()


@pytest.fixture
def stand_ins(storage: Path) -> Iterator[StandIns]:
    found = StandIns(storage)
    yield found
    found.close()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "answers instead" in record.getMessage()]


def test_the_champion_before_answers_for_one_that_has_crashed(
    stand_ins: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    stand_ins.point(champion=2, previous=1)

    async def scenario() -> None:
        assert await stand_ins.active() == 2
        assert stand_ins.follower.stand_ins() == []
        stand_ins.crash(2)
        assert await stand_ins.active() == 1
        assert await stand_ins.active() == 1

    asyncio.run(scenario())
    [line] = errors(caplog)
    assert line.startswith("Model cancer: the champion, version 2, cannot be used, so version 1, the champion before")
    assert "roll back to version 1" in line
    expected = "model 'cancer': its champion, version 2, cannot be used, and version 1, the champion before, answers"
    assert [text.startswith(expected) for text in stand_ins.follower.stand_ins()] == [True]
    assert "SIGSEGV" in stand_ins.follower.failing()[0]
    # A later gateway, too.
    stand_ins.close()
    stand_ins.restart()
    assert asyncio.run(stand_ins.active()) == 1
    assert len(stand_ins.follower.stand_ins()) == 1
    assert stand_ins.follower.waiting_for() == []


def test_a_champion_without_its_files_is_replaced_until_the_alias_moves(stand_ins: StandIns) -> None:
    stand_ins.point(champion=3, previous=1)

    async def scenario() -> list[int | None]:
        found = [await stand_ins.active()]
        assert len(stand_ins.follower.stand_ins()) == 1
        stand_ins.point(champion=2)
        return [*found, await stand_ins.active()]

    assert asyncio.run(scenario()) == [1, 2]
    assert stand_ins.follower.stand_ins() == []


def test_a_champion_that_someone_asks_for_again_answers_again(stand_ins: StandIns) -> None:
    stand_ins.point(champion=2, previous=1)

    async def scenario() -> list[int | None]:
        await stand_ins.active()
        stand_ins.crash(2)
        found = [await stand_ins.active()]
        await stand_ins.served.activate("cancer", 2, again=True)
        return [*found, await stand_ins.active()]

    assert asyncio.run(scenario()) == [1, 2]
    assert stand_ins.follower.stand_ins() == []


def test_a_version_that_was_rolled_back_does_not_come_back_by_itself(
    stand_ins: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    # As a rollback leaves the aliases.
    stand_ins.point(champion=1, previous=2)
    stand_ins.crash(1)
    assert asyncio.run(stand_ins.active()) is None
    assert errors(caplog) == []
    assert stand_ins.follower.waiting_for() == ["the model 'cancer' has no active version"]
