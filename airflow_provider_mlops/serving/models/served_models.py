"""All models that the gateway serves: loading, activating, and following the champion alias in MLflow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, MlopsError
from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.aliases import CHAMPION, PREVIOUS
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)


class ServedModels:
    """The models by name. Its methods run on the event loop; MLflow is asked, and models are loaded, in one thread.

    :param names: the models to serve; without names, all that have a champion.
    """

    def __init__(self, registry: Registry, names: Sequence[str] = (), *, allow_pickle: bool = False) -> None:
        self._registry = registry
        self._names = tuple(names)
        self._allow_pickle = allow_pickle
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._models: dict[str, ServedModel] = {}
        # Where the alias pointed at the last look, and the models for which that is not dealt with yet.
        self._aliased: dict[str, int] = {}
        self._unsettled: set[str] = set()
        self._load_backoff = LoadBackoff()
        self._polled = False
        self.registry_error: str | None = None

    def get(self, name: str) -> ServedModel:
        """The model of that name. Raises RequestError (404)."""
        found = self._models.get(name)
        if found is None:
            raise RequestError(404, f"there is no model {name[:200]!r} here", "name")
        return found

    def sole_active(self) -> ServedModel:
        """The model that is meant where none is named: the only one that answers. Raises RequestError (404)."""
        active = [model for model in self._models.values() if model.active is not None]
        if len(active) != 1:
            names = ", ".join(sorted(model.name for model in active)[:20]) or "none"
            raise RequestError(
                404, f"name the model, as in /models/NAME/invocations; those that answer: {names}", "name"
            )
        return active[0]

    def waiting_for(self) -> list[str]:
        """Why the gateway is not ready: empty once it is.

        It is ready when the champions have been loaded. Of the models that it was told to serve by name, each must
        have an active version; one of the others that cannot be loaded does not keep the rest from being served.
        """
        if not self._polled:
            return [self.registry_error or "the champions are being loaded"]
        return [
            f"the model {name!r} has no active version"
            for name in self._names
            if name not in self._models or self._models[name].active is None
        ]

    def failing(self, wanted: Iterable[tuple[str, int]] = ()) -> list[str]:
        """Which champions cannot be loaded, and why; and of the versions that are wanted beside them, too."""
        champions = ((name, version) for name, version in self._aliased.items() if name in self._unsettled)
        return [
            f"model {name!r}: {reason}"
            for name, version in sorted({*champions, *wanted})
            if (reason := self._load_backoff.reason((name, version))) is not None
        ]

    def is_due(self, name: str, version: int) -> bool:
        """Whether to load a version unasked: one that could not be loaded is left alone for a time."""
        return self._load_backoff.is_due((name, version))

    def status(self) -> list[dict[str, Any]]:
        """What the admin API says of all models."""
        return [self._models[name].status() for name in sorted(self._models)]

    def aliased(self, name: str) -> int | None:
        """Where a model's champion alias was at the last look."""
        return self._aliased.get(name)

    def all(self) -> list[ServedModel]:
        """Every model that is known."""
        return list(self._models.values())

    def serves(self, name: str) -> bool:
        """Whether the gateway was told to serve a model, or to serve all."""
        return not self._names or name in self._names

    def is_loaded(self, name: str, version: int) -> bool:
        """Whether a version is in memory. May be asked from any thread."""
        model = self._models.get(name)
        return model is not None and version in model.versions

    def keep(self, versions_of: Callable[[str], set[int]]) -> None:
        """Do not let go of the versions that rollouts need."""
        for model in self._models.values():
            model.kept = frozenset(versions_of(model.name))

    async def load(self, name: str, version: int) -> ServedModel:
        """Load a version beside the others, unless it is there.

        Raises RequestError: 404 if MLflow does not know the version, 422 if it cannot be served, 503 if MLflow is away.
        """
        model = self._models.get(name)
        if model is None or version not in model.versions:
            loaded = await self._run(self._load, name, version)
            self._load_backoff.succeeded((name, version))
            model = self._models.setdefault(name, ServedModel(name))
            model.add(loaded)
        return model

    async def activate(self, name: str, version: int, *, champion: bool = False) -> ServedModel:
        """Let a version answer from now on; it is loaded first if it is not there. Raises RequestError as `load` does.

        :param champion: whether the caller has seen the champion alias at this version. Without knowing it, the poll
            would not notice an alias that moved here and back between two of its looks.
        """
        model = await self.load(name, version)
        before = model.active
        model.activate(version)
        if champion:
            self._aliased[name] = version
        log.info("Model %s: version %d answers now (before: %s)", name, version, before)
        return model

    def deactivate(self, name: str, version: int) -> ServedModel:
        """Let a version that was withdrawn answer no longer; nothing happens if another one answers.

        Raises RequestError (404) if there is no such model.
        """
        model = self.get(name)
        if model.active == version:
            self._stop(model)
        return model

    async def poll(self) -> None:
        """Follow the champion alias of each model where it has moved or gone since the last look.

        Only a move counts: a version that was activated through the admin API stays, whatever the alias says, until
        the alias moves. Nothing is raised; what goes wrong is logged and shown in the status.
        """
        # Counted before the look: whoever activates a version while MLflow answers knows better than that answer.
        activations = {name: model.activations for name, model in self._models.items()}
        try:
            aliases = await asyncio.get_running_loop().run_in_executor(self._loader, self._aliases)
        except Exception as error:
            if self.registry_error is None:
                log.warning("The champions cannot be looked up; what is loaded goes on answering: %s", error)
            self.registry_error = f"MLflow cannot be asked: {error}"
            return
        if self.registry_error is not None:
            log.info("MLflow answers again")
            self.registry_error = None
        for name, (champion, previous) in aliases.items():
            model = self._models.get(name)
            if model is not None and model.activations != activations.get(name, 0):
                # The answer is older than the activation: the next look tells where the alias is now.
                continue
            if self._aliased.get(name) != champion:
                self._aliased[name] = champion
                self._unsettled.add(name)
            if name in self._unsettled:
                await self._follow(name, champion, previous, activations.get(name, 0))
        for name in [name for name in self._aliased if name not in aliases]:
            model = self._models.get(name)
            if model is None:
                del self._aliased[name]
            elif model.activations == activations.get(name, 0):
                self._stop(model)
        self._polled = True

    def close(self) -> None:
        """Stop the loading thread once it has done what it is at."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _stop(self, model: ServedModel) -> None:
        if model.active is not None:
            log.warning("Model %s: version %s has been withdrawn, and none answers now", model.name, model.active)
        self._aliased.pop(model.name, None)
        self._unsettled.discard(model.name)
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
        self._unsettled.discard(name)
        if model.activations == activations and model.active != champion:
            log.info("Model %s: the champion is version %d now (before: %s)", name, champion, model.active)
            model.activate(champion)
        if model.previous is None and previous is not None and previous != model.active:
            await self._keep_warm(model, previous)

    async def _keep_warm(self, model: ServedModel, version: int) -> None:
        """After a start, load what was the champion before, so that a rollback finds it in memory."""
        try:
            await self.load(model.name, version)
        except RequestError as refusal:
            log.warning("Model %s: the previous version is not kept warm: %s", model.name, refusal.message)
        else:
            if model.previous is None and model.active != version:
                model.previous = version

    async def _run(self, function: Any, name: str, version: int) -> LoadedModel:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._loader, function, name, version)
        except RequestError as refusal:
            if refusal.status != 503 and self._load_backoff.failed((name, version), refusal.message):
                answering = self._models[name].active if name in self._models else None
                going_on = "nothing" if answering is None else f"version {answering}"
                cause = None if isinstance(refusal.__cause__, MlopsError) else refusal.__cause__
                log.error("Model %s: %s; %s goes on answering", name, refusal.message, going_on, exc_info=cause)
            if refusal.status == 422:
                self._models.setdefault(name, ServedModel(name)).failures[version] = refusal.message
            raise

    def _load(self, name: str, version: int) -> LoadedModel:
        try:
            found = models.get(self._registry, name, version)
        except BackendUnavailableError as error:
            raise RequestError(503, str(error), Retry_After="5") from error
        except MlopsError as error:
            raise RequestError(
                404, str(error), error.field if isinstance(error, InvalidSpecError) else "version"
            ) from error
        try:
            return LoadedModel.load(self._registry, found, allow_pickle=self._allow_pickle)
        except BackendUnavailableError as error:
            raise RequestError(503, str(error), Retry_After="5") from error
        except MlopsError as error:
            raise RequestError(422, str(error), "version") from error
        except Exception as error:
            raise RequestError(
                422, f"version {version} cannot be loaded: {type(error).__name__}: {error}", "version"
            ) from error

    def _aliases(self) -> dict[str, tuple[int, int | None]]:
        """Champion and previous version of each model to serve that has a champion."""
        client = self._registry.client
        found = {}
        token = None
        while True:
            page = client.search_registered_models(page_token=token)
            for model in page:
                aliases = model.aliases
                if CHAMPION in aliases and (not self._names or model.name in self._names):
                    previous = aliases.get(PREVIOUS)
                    found[model.name] = (int(aliases[CHAMPION]), None if previous is None else int(previous))
            token = page.token
            if not token:
                return found
