"""Follows the champion aliases in MLflow: each model answers with its champion as soon as that is loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models import threads
from airflow_provider_mlops.serving.models.champions import Behind
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import Aliases, ModelSource
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import CHAMPIONS_AT_ONCE, ServedModels
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_FOLLOW_SECONDS = 5.0
"""Time for which `follow` waits for champions to be loaded."""
_CHECKED_AT_ONCE = 5
"""Number of versions that each look at MLflow checks for deletion."""


class _LookUp(NamedTuple):
    """The findings of a look at MLflow and at the list of crashes."""

    aliases: dict[str, Aliases]
    deleted: list[ModelVersion]
    crashed: list[tuple[LoadedModel, str]]
    skipped: dict[tuple[str, int], str]


class ChampionFollower:
    """Keeps the models in memory up to date with MLflow and the list of crashes.

    Its methods run on the event loop; another thread looks up the aliases, while versions are loaded.

    Parameters
    ----------
    source
        Source of the models, such as an MLflow registry.
    models
        Models in memory.
    """

    def __init__(self, source: ModelSource, models: ServedModels) -> None:
        self._source = source
        self._models = models
        self._champions = models.champions
        self._poller = ThreadPoolExecutor(1, thread_name_prefix=threads.LOAD)
        # Versions that are no longer used, because they ended a process.
        self._withdrawn: set[tuple[str, int]] = set()
        # The version of each model that was the champion before, as the alias says.
        self._previous: dict[str, int] = {}
        self._skipped: dict[tuple[str, int], str] = {}
        self._has_started = False
        # The models whose champions are being loaded, and the tasks that do it.
        self._loading: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._checked = 0

    def waiting_for(self) -> list[str]:
        """Return why the gateway is not ready; empty once it is.

        It is ready when the champions have been loaded. Each model that it was told to serve by name must have an
        active version. If another model cannot be loaded, the rest is served anyway.
        """
        champions = self._champions
        if not champions.are_known:
            return [champions.error or "the champions are being looked up"]
        if not self._has_started:
            return [f"{len(champions.behind)} of {pluralize(len(champions), 'champion')} not loaded yet"]
        return [f"the model {name!r} has no active version" for name in self._models.inactive_names()]

    @property
    def has_started(self) -> bool:
        """Whether all champions have been loaded once, as far as they can be."""
        return self._has_started

    def failing(self, wanted: Iterable[tuple[str, int]] = ()) -> list[str]:
        """Return which versions cannot be loaded, and why: champions, `wanted` ones, and those that ended a process."""
        champions = ((name, behind.champion) for name, behind in self._champions.behind.items())
        reasons = {key: reason for key, reason in self._skipped.items() if not self._models.is_loaded(*key)}
        for key in (*champions, *wanted, *self._withdrawn):
            if (reason := self._models.load_failure(*key)) is not None:
                reasons[key] = reason
        return [f"model {name!r}: {reason}" for (name, _), reason in sorted(reasons.items())]

    def stand_ins(self) -> list[str]:
        """Return the models that are answered by the champion before, because their champion cannot be used."""
        return [
            f"model {model.name!r}: its champion, version {model.stands_in_for}, cannot be used, and version "
            f"{model.active}, the champion before, answers instead"
            for model in self._models.all()
            if model.stands_in_for is not None
        ]

    async def poll(self) -> None:
        """Look up the champions, and follow those that have moved. Never raises."""
        await self.look_up()
        await self.follow()

    async def look_up(self) -> None:
        """Look up the champion alias of each model, and whether loaded versions were deleted or have crashed.

        Only moves of an alias count: a version that was activated through the admin API stays active until the alias
        moves. Never raises; errors are logged and shown in the status.
        """
        # Counted before the lookup: an activation during the lookup is newer than its result.
        models = {model.name: model for model in self._models.all()}
        activations = {name: model.activations for name, model in models.items()}
        loaded = [version for model in models.values() for version in model.versions.values()]
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._poller, self._look_up, loaded, self._to_check()
            )
        except Exception as error:
            if self._champions.error is None:
                log.warning("Could not look up the champions; keeping the active versions: %s", error)
            self._champions.error = f"could not look up the champions: {error}"
            return
        if self._champions.error is not None:
            log.info("MLflow is available again")
        self._champions.answered()
        for version in found.deleted:
            self._remove_deleted(version)
        self._see(found.aliases, activations)
        for crashed, reason in found.crashed:
            self._withdraw(crashed, reason)
        self._skipped = {key: reason for key, reason in found.skipped.items() if self._models.serves(key[0])}
        self._champions.are_known = True

    async def follow(self) -> None:
        """Load the champions that are not active yet, and activate each as soon as it is loaded. Never raises.

        Models that were requested come first. Those that take long are loaded in the background, so that the next call
        follows others in the meantime.
        """
        tried: set[str] = set()

        async def follow_some() -> None:
            while (name := self._next(tried | self._loading)) is not None:
                tried.add(name)
                self._loading.add(name)
                try:
                    if name in self._champions.behind:
                        await self._follow(name, self._champions.behind[name])
                    else:
                        await self._let_stand_in(name)
                except Exception:
                    log.exception("Could not follow the champion of %s; the other models are not affected", name)
                finally:
                    self._loading.discard(name)

        started = [asyncio.create_task(follow_some()) for _ in range(CHAMPIONS_AT_ONCE - len(self._loading))]
        self._tasks.update(started)
        for task in started:
            task.add_done_callback(self._tasks.discard)
        if started:
            await asyncio.wait(started, timeout=_FOLLOW_SECONDS)
        if self._champions.are_known and not self._tasks:
            self._has_started = True

    def close(self) -> None:
        """Stop looking up and following champions."""
        for task in self._tasks:
            task.cancel()
        self._poller.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, loaded: list[LoadedModel], to_check: list[ModelVersion]) -> _LookUp:
        aliases = self._source.aliases()
        crashed = [(model, reason) for model in loaded if (reason := self._source.crash_of(model)) is not None]
        deleted = [version for version in to_check if self._source.is_deleted(version)]
        return _LookUp(aliases, deleted, crashed, self._source.skipped())

    def _to_check(self) -> list[ModelVersion]:
        """Return some of the versions that do not answer by default, in turn: they may have been deleted."""
        spare = [
            loaded.version
            for model in self._models.all()
            for number, loaded in model.versions.items()
            if number != model.active
        ]
        chosen = [spare[(self._checked + place) % len(spare)] for place in range(min(len(spare), _CHECKED_AT_ONCE))]
        self._checked += len(chosen)
        return chosen

    def _see(self, aliases: dict[str, Aliases], activations: dict[str, int]) -> None:
        """Note where the aliases point. An activation since they were looked up is newer; the next look shows both."""
        self._previous = {name: found.previous for name, found in aliases.items() if found.previous is not None}
        for name, (champion, previous) in aliases.items():
            model = self._models.find(name)
            if model is None or model.activations == activations.get(name, 0):
                self._champions.saw(name, champion, previous, activations.get(name, 0))
        for name in self._champions.names():
            if name not in aliases:
                model = self._models.find(name)
                if model is None:
                    self._champions.forget(name)
                elif model.activations == activations.get(name, 0):
                    self._models.stop(model)

    def _remove_deleted(self, version: ModelVersion) -> None:
        model = self._models.find(version.name)
        if model is not None and version.version in model.versions and version.version != model.active:
            log.warning("Removed %s from memory, because it was deleted in MLflow", version)
            model.remove(version.version)

    def _withdraw(self, loaded: LoadedModel, reason: str) -> None:
        """Stop using a version that has ended another process of the gateway."""
        if self._models.withdraw(loaded, reason):
            self._withdrawn.add((loaded.version.name, loaded.version.version))

    async def _follow(self, name: str, behind: Behind) -> None:
        champion, previous, activations, again = behind
        if not self._models.is_loaded(name, champion) and not (again or self._models.is_due(name, champion)):
            await self._let_stand_in(name)
            return
        if again:
            self._champions.behind[name] = behind._replace(again=False)
        try:
            model = await self._models.load(name, champion, again=again)
        except RequestError:
            self._models.expect(name)
            await self._let_stand_in(name)
            return
        current = self._champions.behind.get(name)
        if current is None or current.champion != champion:
            # The alias has moved meanwhile.
            return
        del self._champions.behind[name]
        if model.activations == activations and model.active != champion:
            before = "no version" if model.active is None else f"version {model.active}"
            model.activate(champion)
            log.info("Activated the new champion of %s, version %d (previously active: %s)", name, champion, before)
        if model.previous is None and previous is not None and previous != model.active:
            await self._keep_warm(model, previous)

    def _next(self, tried: Collection[str]) -> str | None:
        """Return the next model that is behind, or whose champion has ended a process; None if all were tried."""
        unanswered = (name for name, _ in self._withdrawn if name not in tried and self._lacks_champion(name))
        return self._champions.next_behind(tried) or next(unanswered, None)

    def _lacks_champion(self, name: str) -> bool:
        """Return whether no version of a model answers, because its champion cannot be used."""
        champion, model = self._champions.version(name), self._models.find(name)
        if champion is None or model is None or model.active is not None:
            return False
        return self._models.load_failure(name, champion) is not None

    async def _let_stand_in(self, name: str) -> None:
        """Let the champion before answer, if no version does.

        It is the version of the alias `previous`, or the one that this gateway served last. A version newer than the
        champion must not come back by itself: after a rollback, the alias points to the one that was rolled back.
        """
        champion, model = self._champions.version(name), self._models.find(name)
        if champion is None or model is None or not self._lacks_champion(name):
            return
        before = (self._previous.get(name), model.previous)
        previous = next((version for version in before if version is not None and version < champion), None)
        if previous is None:
            return
        if not self._models.is_loaded(name, previous) and not self._models.is_due(name, previous):
            return
        try:
            model = await self._models.load(name, previous)
        except RequestError:
            return
        if self._champions.version(name) == champion and self._lacks_champion(name):
            model.stand_in(previous, champion)
            log.error(
                "Model %s: the champion, version %d, cannot be used, so version %d, the champion before, answers "
                "instead. Deploy a version that works, or roll back to version %d. To try version %d once more, load "
                "it through the API",
                name,
                champion,
                previous,
                previous,
                champion,
            )

    async def _keep_warm(self, model: ServedModel, version: int) -> None:
        """Load the previous champion after a start, so that a rollback finds it in memory."""
        try:
            await self._models.load(model.name, version)
        except RequestError as error:
            log.warning(
                "Could not load the previous version of %s, so a rollback would be slower: %s",
                model.name,
                error.message,
            )
        else:
            if model.previous is None and model.active != version:
                model.previous = version
