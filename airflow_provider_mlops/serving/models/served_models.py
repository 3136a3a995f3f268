"""All models that the gateway serves: it loads and activates versions, and follows the champion alias in MLflow."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.serving.models import threads
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import ModelSource
from airflow_provider_mlops.serving.models.served_model import ModelStatus, ServedModel
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_SILENT_SECONDS = 30.0
"""Time without an answer of MLflow after which the gateway reports it."""


class ServedModels:
    """The models by name. Its methods run on the event loop; two other threads look up aliases and load versions.

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
        self._loader = ThreadPoolExecutor(1, thread_name_prefix=threads.LOAD)
        # Apart from the loader, so that a version can be loaded while a look at the aliases takes long.
        self._poller = ThreadPoolExecutor(1, thread_name_prefix=threads.LOAD)
        self._polled_at = time.monotonic()
        self._models: dict[str, ServedModel] = {}
        # The champions at the last poll, and the models that do not follow theirs yet.
        self._aliased: dict[str, int] = {}
        self._behind: set[str] = set()
        self._load_backoff = LoadBackoff() if load_backoff is None else load_backoff
        self._polled = False
        self.registry_error: str | None = None

    def get(self, name: str) -> ServedModel:
        """Return the model of that name. Raises RequestError (404, or 503 while the models are first loaded)."""
        model = self._models.get(name)
        if model is None:
            if not self._polled and (not self._names or name in self._names):
                raise RequestError(503, "The gateway is loading its models. Retry later.", Retry_After="5")
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
        if not self._polled:
            return [self.registry_error or "the champions are being loaded"]
        return [
            f"the model {name!r} has no active version"
            for name in self._names
            if name not in self._models or self._models[name].active is None
        ]

    def registry_problem(self) -> str | None:
        """Return why the champions may be out of date; None if MLflow was asked recently."""
        silent = time.monotonic() - self._polled_at
        if self.registry_error is not None:
            return self.registry_error
        return f"MLflow has not answered for {silent:.0f} s" if silent > _SILENT_SECONDS else None

    def failing(self, wanted: Iterable[tuple[str, int]] = ()) -> list[str]:
        """Return which champions, and which of the `wanted` versions, cannot be loaded, and why."""
        champions = ((name, version) for name, version in self._aliased.items() if name in self._behind)
        return [
            f"model {name!r}: {reason}"
            for name, version in sorted({*champions, *wanted})
            if (reason := self._load_backoff.reason((name, version))) is not None
        ]

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

    async def load(self, name: str, version: int) -> ServedModel:
        """Load a version in addition to the others, unless it is in memory. Raises RequestError as the source does."""
        model = self._models.get(name)
        if model is None or version not in model.versions:
            loaded = await self._load(name, version)
            self._load_backoff.succeeded((name, version))
            model = self._models.setdefault(name, ServedModel(name))
            model.add(loaded)
        return model

    async def activate(self, name: str, version: int, *, champion: bool = False) -> ServedModel:
        """Load a version if necessary, and let it answer from now on. Raises RequestError as `load` does.

        Parameters
        ----------
        champion
            Whether the caller has seen that this version is the champion. Otherwise, the poll would not notice an alias
            that moves to this version and back between two polls.
        """
        model = await self.load(name, version)
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
        """Follow the champion alias of each model if it has moved or was deleted since the last poll.

        Only moves count: a version that was activated through the admin API stays active until the alias moves. Never
        raises; errors are logged and shown in the status.
        """
        # Counted before the lookup: an activation during the lookup is newer than its result.
        activations = {name: model.activations for name, model in self._models.items()}
        try:
            aliases = await asyncio.get_running_loop().run_in_executor(self._poller, self._source.aliases)
        except Exception as error:
            if self.registry_error is None:
                log.warning("Could not look up the champions; keeping the active versions: %s", error)
            self.registry_error = f"could not look up the champions: {error}"
            return
        self._polled_at = time.monotonic()
        if self.registry_error is not None:
            log.info("MLflow is available again")
            self.registry_error = None
        for name, (champion, previous) in aliases.items():
            model = self._models.get(name)
            if model is not None and model.activations != activations.get(name, 0):
                # The activation is newer than this result. The next poll shows the current alias.
                continue
            if self._aliased.get(name) != champion:
                self._aliased[name] = champion
                self._behind.add(name)
            if name in self._behind:
                try:
                    await self._follow(name, champion, previous, activations.get(name, 0))
                except Exception:
                    log.exception("Could not follow the champion of %s; the other models are not affected", name)
        for name in [name for name in self._aliased if name not in aliases]:
            model = self._models.get(name)
            if model is None:
                del self._aliased[name]
            elif model.activations == activations.get(name, 0):
                self._stop(model)
        self._polled = True

    def close(self) -> None:
        """Stop both threads after their current tasks."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._poller.shutdown(wait=False, cancel_futures=True)

    def _stop(self, model: ServedModel) -> None:
        if model.active is not None:
            log.warning(
                "Deactivated model %s, because its version %s was withdrawn. Deploy a version to serve the model again",
                model.name,
                model.active,
            )
        self._aliased.pop(model.name, None)
        self._behind.discard(model.name)
        model.deactivate()

    async def _follow(self, name: str, champion: int, previous: int | None, activations: int) -> None:
        model = self._models.get(name)
        loaded = model is not None and champion in model.versions
        if not loaded and not self.is_due(name, champion):
            return
        try:
            model = await self.load(name, champion)
        except RequestError:
            self._models.setdefault(name, ServedModel(name))
            return
        self._behind.discard(name)
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

    async def _load(self, name: str, version: int) -> LoadedModel:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._loader, self._source.load, name, version)
        except RequestError as error:
            if error.status != 503 and self._load_backoff.failed((name, version), error.message):
                active = self._models[name].active if name in self._models else None
                kept = "No version is active" if active is None else f"Version {active} stays active"
                cause = None if isinstance(error.__cause__, MlopsError) else error.__cause__
                log.error("Model %s: %s %s", name, error.message, kept, exc_info=cause)
            if error.status == 422:
                self._models.setdefault(name, ServedModel(name)).failures[version] = error.message
            raise
