"""All models that the gateway serves: it loads and activates versions, and follows the champion alias in MLflow."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models import threads
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import Aliases, ModelSource
from airflow_provider_mlops.serving.models.served_model import ModelStatus, ServedModel
from airflow_provider_mlops.serving.models.version_loader import VersionLoader
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_SILENT_SECONDS = 30.0
"""Time without an answer of MLflow after which the gateway reports it."""
_CHAMPIONS_AT_ONCE = 4
"""Number of champions that are loaded at the same time: one is tried in a process of its own while another one is
loaded, and others may wait for their files."""
_CHECKED_AT_ONCE = 5
"""Number of versions that each look at MLflow checks for deletion."""


class _Behind(NamedTuple):
    """A model that does not follow its alias yet.

    Parameters
    ----------
    champion, previous
        Versions that the aliases point to.
    activations
        The model's activations when the aliases were looked up: a later one is newer than the alias.
    again
        Whether the alias moved while the gateway was running, which asks for the version again.
    """

    champion: int
    previous: int | None
    activations: int
    again: bool


class _LookUp(NamedTuple):
    """The findings of a look at MLflow and at the list of crashes."""

    aliases: dict[str, Aliases]
    deleted: list[ModelVersion]
    crashed: list[tuple[LoadedModel, str]]
    skipped: dict[tuple[str, int], str]


class ServedModels:
    """The models by name. Its methods run on the event loop; other threads look up aliases and load versions.

    Parameters
    ----------
    source
        Source of the models, such as an MLflow registry.
    names
        Models to serve. Without names, all models that have a champion are served.
    default
        Model for requests that name none; by default, the only active one.
    load_backoff
        Delays between attempts to load a version.
    """

    def __init__(
        self,
        source: ModelSource,
        names: Sequence[str] = (),
        *,
        default: str | None = None,
        load_backoff: LoadBackoff | None = None,
    ) -> None:
        self._source = source
        self._names = tuple(names)
        self._default = default
        self._load_backoff = LoadBackoff() if load_backoff is None else load_backoff
        self._loader = VersionLoader(
            source,
            self._load_backoff,
            # More than the number of champions that are loaded at the same time: some may wait for storage.
            2 * _CHAMPIONS_AT_ONCE,
            on_load=self._add,
            on_failure=self._report,
            silent_seconds=self._silent_seconds,
        )
        # Apart from the loader, so that the aliases are looked up while versions are loaded.
        self._poller = ThreadPoolExecutor(1, thread_name_prefix=threads.LOAD)
        self._polled_at = time.monotonic()
        self._models: dict[str, ServedModel] = {}
        # The champions at the last look, and the models that do not follow theirs yet.
        self._aliased: dict[str, int] = {}
        self._behind: dict[str, _Behind] = {}
        # Models that were requested before they were loaded, the earliest first.
        self._requested: dict[str, None] = {}
        # Versions that are no longer used, because they ended a process.
        self._withdrawn: set[tuple[str, int]] = set()
        self._skipped: dict[tuple[str, int], str] = {}
        self._looked_up = self._polled = False
        self._checked = 0
        self.registry_error: str | None = None

    def get(self, name: str) -> ServedModel:
        """Return the model of that name. Raises RequestError (404, or 503 while its champion is first loaded)."""
        model = self._models.get(name)
        if model is None:
            if name in self._behind or (not self._looked_up and (not self._names or name in self._names)):
                if name in self._behind:
                    self._requested[name] = None
                raise RequestError(503, "The gateway is loading its models. Retry later.", Retry_After="1")
            raise RequestError(404, f"The gateway does not serve a model {name[:200]!r}.", "name")
        return model

    def sole_active(self) -> ServedModel:
        """Return the model for a request that names none: the default, or the only active one.

        Raises RequestError (404).
        """
        if self._default is not None:
            return self.get(self._default)
        active = [model for model in self._models.values() if model.active is not None]
        if len(active) != 1:
            names = ", ".join(sorted(model.name for model in active)[:20]) or "none"
            raise RequestError(
                404, f"Name the model in the path, as in /models/NAME/invocations. Active models: {names}.", "name"
            )
        return active[0]

    def waiting_for(self) -> list[str]:
        """Return why the gateway is not ready; empty once it is.

        It is ready when the champions have been loaded. Each model that it was told to serve by name must have an
        active version. If another model cannot be loaded, the rest is served anyway.
        """
        if not self._looked_up:
            return [self.registry_error or "the champions are being looked up"]
        if not self._polled:
            return [f"{len(self._behind)} of {pluralize(len(self._aliased), 'champion')} not loaded yet"]
        return [
            f"the model {name!r} has no active version"
            for name in self._names
            if name not in self._models or self._models[name].active is None
        ]

    @property
    def has_started(self) -> bool:
        """Whether all champions have been loaded once, as far as they can be."""
        return self._polled

    def registry_problem(self) -> str | None:
        """Return why the champions may be out of date; None if MLflow was asked recently."""
        if self.registry_error is not None:
            return self.registry_error
        silent = self._silent_seconds()
        return f"MLflow has not answered for {silent:.0f} s" if silent > _SILENT_SECONDS else None

    def failing(self, wanted: Iterable[tuple[str, int]] = ()) -> list[str]:
        """Return which versions cannot be loaded, and why: champions, `wanted` ones, and those that ended a process."""
        champions = ((name, version) for name, version in self._aliased.items() if name in self._behind)
        reasons = {key: reason for key, reason in self._skipped.items() if not self.is_loaded(*key)}
        for key in (*champions, *wanted, *self._withdrawn):
            if (reason := self._load_backoff.reason(key)) is not None:
                reasons[key] = reason
        return [f"model {name!r}: {reason}" for (name, _), reason in sorted(reasons.items())]

    def is_due(self, name: str, version: int) -> bool:
        """Return whether to try to load a version now: one that failed is tried again only after a delay."""
        return self._load_backoff.is_due((name, version))

    def status(self) -> list[ModelStatus]:
        """Return the status of all models, for the admin API."""
        return [self._models[name].status() for name in sorted(self._models)]

    def aliased(self, name: str) -> int | None:
        """Return a model's champion at the last poll; None if it had none."""
        return self._aliased.get(name)

    def all(self) -> list[ServedModel]:
        """Return every known model."""
        return list(self._models.values())

    def serves(self, name: str) -> bool:
        """Return whether the gateway was told to serve a model, or to serve all models."""
        return not self._names or name in self._names

    def is_loaded(self, name: str, version: int) -> bool:
        """Return whether a version is in memory. Safe to call from any thread."""
        model = self._models.get(name)
        return model is not None and version in model.versions

    def keep(self, versions_of: Callable[[str], set[int]]) -> None:
        """Keep the versions in memory that rollouts need."""
        for model in self._models.values():
            model.kept = frozenset(versions_of(model.name))

    async def load(self, name: str, version: int, *, again: bool = False) -> ServedModel:
        """Load a version in addition to the others, unless it is in memory. Raises RequestError as the source does.

        If it takes long, RequestError (503) is raised, and the version is loaded in the background.

        Parameters
        ----------
        again
            Whether someone asks for this version, so that it is tried even if it has ended a process before.
        """
        model = self._models.get(name)
        if model is None or version not in model.versions:
            loaded = await self._loader.load(name, version, again=again)
            model = self._models[name]
            if version not in model.versions:
                model.add(loaded)
        return model

    async def activate(self, name: str, version: int, *, champion: bool = False, again: bool = False) -> ServedModel:
        """Load a version if necessary, and let it answer from now on. Raises RequestError as `load` does.

        Parameters
        ----------
        champion
            Whether the caller has seen that this version is the champion. Otherwise, the poll would not notice an alias
            that moves to this version and back between two polls.
        again
            As for `load`.
        """
        model = await self.load(name, version, again=again)
        before = model.active
        model.activate(version)
        if champion:
            self._aliased[name] = version
        previous = "no version" if before is None else f"version {before}"
        log.info("Activated model %s, version %d (previously active: %s)", name, version, previous)
        return model

    def deactivate(self, name: str, version: int) -> ServedModel:
        """Stop answering with a version that was withdrawn; nothing changes if another version is active.

        Raises RequestError (404) if there is no such model.
        """
        model = self.get(name)
        if model.active == version:
            self._stop(model)
        return model

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
        activations = {name: model.activations for name, model in self._models.items()}
        loaded = [version for model in self._models.values() for version in model.versions.values()]
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._poller, self._look_up, loaded, self._to_check()
            )
        except Exception as error:
            if self.registry_error is None:
                log.warning("Could not look up the champions; keeping the active versions: %s", error)
            self.registry_error = f"could not look up the champions: {error}"
            return
        self._polled_at = time.monotonic()
        if self.registry_error is not None:
            log.info("MLflow is available again")
            self.registry_error = None
        for version in found.deleted:
            self._remove_deleted(version)
        for name, (champion, previous) in found.aliases.items():
            model = self._models.get(name)
            if model is not None and model.activations != activations.get(name, 0):
                # The activation is newer than this result. The next look shows the current alias.
                continue
            moved = self._aliased.get(name) != champion
            if moved or name in self._behind:
                again = name in self._aliased if moved else self._behind[name].again
                self._aliased[name] = champion
                self._behind[name] = _Behind(champion, previous, activations.get(name, 0), again)
        for name in [name for name in self._aliased if name not in found.aliases]:
            model = self._models.get(name)
            if model is None:
                del self._aliased[name]
                self._behind.pop(name, None)
            elif model.activations == activations.get(name, 0):
                self._stop(model)
        for crashed, reason in found.crashed:
            self._withdraw(crashed, reason)
        self._skipped = {key: reason for key, reason in found.skipped.items() if self.serves(key[0])}
        self._looked_up = True

    async def follow(self) -> None:
        """Load the champions that are not active yet, and activate each as soon as it is loaded. Never raises.

        Models that were requested come first.
        """
        tried: set[str] = set()

        def next_name() -> str | None:
            requested = (name for name in self._requested if name in self._behind)
            return next((name for name in (*requested, *self._behind) if name not in tried), None)

        async def follow_some() -> None:
            while (name := next_name()) is not None:
                tried.add(name)
                self._requested.pop(name, None)
                try:
                    await self._follow(name, self._behind[name])
                except Exception:
                    log.exception("Could not follow the champion of %s; the other models are not affected", name)

        await asyncio.gather(*(follow_some() for _ in range(_CHAMPIONS_AT_ONCE)))
        self._polled = self._polled or self._looked_up

    def stop_loading(self) -> None:
        """Answer those who wait for a version to be loaded with an error."""
        self._loader.stop()

    def _silent_seconds(self) -> float:
        """Return the time since MLflow last answered."""
        return time.monotonic() - self._polled_at

    def _look_up(self, loaded: list[LoadedModel], to_check: list[ModelVersion]) -> _LookUp:
        aliases = self._source.aliases()
        crashed = [(model, reason) for model in loaded if (reason := self._source.crash_of(model)) is not None]
        deleted = [version for version in to_check if self._source.is_deleted(version)]
        return _LookUp(aliases, deleted, crashed, self._source.skipped())

    def _to_check(self) -> list[ModelVersion]:
        """Return some of the versions that do not answer by default, in turn: they may have been deleted."""
        spare = [
            loaded.version
            for model in self._models.values()
            for number, loaded in model.versions.items()
            if number != model.active
        ]
        chosen = [spare[(self._checked + place) % len(spare)] for place in range(min(len(spare), _CHECKED_AT_ONCE))]
        self._checked += len(chosen)
        return chosen

    def _remove_deleted(self, version: ModelVersion) -> None:
        model = self._models.get(version.name)
        if model is not None and version.version in model.versions and version.version != model.active:
            log.warning("Removed %s from memory, because it was deleted in MLflow", version)
            model.remove(version.version)

    def _withdraw(self, loaded: LoadedModel, reason: str) -> None:
        """Stop using a version that has ended another process of the gateway."""
        name, number = loaded.version.name, loaded.version.version
        model = self._models[name]
        if model.versions.get(number) is not loaded:
            return
        log.error("Model %s: version %d is no longer used: %s", name, number, reason)
        if model.active == number:
            model.deactivate()
        model.remove(number)
        message = f"Version {number} is not loaded: {reason}."
        model.failures[number] = message
        self._withdrawn.add((name, number))
        self._load_backoff.failed((name, number), message)

    def close(self) -> None:
        """Stop the threads after their current tasks."""
        self._loader.close()
        self._poller.shutdown(wait=False, cancel_futures=True)

    def _stop(self, model: ServedModel) -> None:
        if model.active is not None:
            log.warning(
                "Deactivated model %s, because its version %s was withdrawn. Deploy a version to serve the model again",
                model.name,
                model.active,
            )
        self._aliased.pop(model.name, None)
        self._behind.pop(model.name, None)
        model.deactivate()

    async def _follow(self, name: str, behind: _Behind) -> None:
        champion, previous, activations, again = behind
        model = self._models.get(name)
        loaded = model is not None and champion in model.versions
        if not loaded and not (again or self.is_due(name, champion)):
            return
        if again:
            self._behind[name] = behind._replace(again=False)
        try:
            model = await self.load(name, champion, again=again)
        except RequestError:
            self._models.setdefault(name, ServedModel(name))
            return
        current = self._behind.get(name)
        if current is None or current.champion != champion:
            # The alias has moved meanwhile.
            return
        del self._behind[name]
        if model.activations == activations and model.active != champion:
            before = "no version" if model.active is None else f"version {model.active}"
            model.activate(champion)
            log.info("Activated the new champion of %s, version %d (previously active: %s)", name, champion, before)
        if model.previous is None and previous is not None and previous != model.active:
            await self._keep_warm(model, previous)

    async def _keep_warm(self, model: ServedModel, version: int) -> None:
        """Load the previous champion after a start, so that a rollback finds it in memory."""
        try:
            await self.load(model.name, version)
        except RequestError as error:
            log.warning(
                "Could not load the previous version of %s, so a rollback would be slower: %s",
                model.name,
                error.message,
            )
        else:
            if model.previous is None and model.active != version:
                model.previous = version

    def _add(self, name: str, loaded: LoadedModel) -> None:
        """Keep a version that was loaded, even if no one waits for it any longer."""
        self._withdrawn.discard((name, loaded.version.version))
        self._models.setdefault(name, ServedModel(name)).add(loaded)

    def _report(self, name: str, version: int, error: RequestError, is_news: bool) -> None:
        """Report that a version could not be loaded."""
        if is_news:
            active = self._models[name].active if name in self._models else None
            kept = "No version is active" if active is None else f"Version {active} stays active"
            cause = None if isinstance(error.__cause__, MlopsError) else error.__cause__
            log.error("Model %s: %s %s", name, error.message, kept, exc_info=cause)
        if error.status == 422:
            self._models.setdefault(name, ServedModel(name)).failures[version] = error.message
