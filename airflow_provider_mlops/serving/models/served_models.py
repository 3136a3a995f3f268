"""All models in memory: the gateway loads and activates their versions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.serving.models.champions import Champions
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import ModelSource
from airflow_provider_mlops.serving.models.served_model import ModelStatus, ServedModel
from airflow_provider_mlops.serving.models.version_loader import VersionLoader
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

CHAMPIONS_AT_ONCE = 4
"""Number of champions that are loaded at the same time: one is tried in a process of its own while another one is
loaded, and others may wait for their files."""


class ServedModels:
    """The models by name. Its methods run on the event loop; other threads load versions.

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
        self.champions = Champions()
        self._names = tuple(names)
        self._default = default
        self._load_backoff = LoadBackoff() if load_backoff is None else load_backoff
        self._loader = VersionLoader(
            source,
            self._load_backoff,
            # More than the number of champions that are loaded at the same time: some may wait for storage.
            2 * CHAMPIONS_AT_ONCE,
            on_load=self._add,
            on_failure=self._report,
            silent_seconds=self.champions.silent_seconds,
        )
        self._models: dict[str, ServedModel] = {}

    def get(self, name: str) -> ServedModel:
        """Return the model of that name. Raises RequestError (404, or 503 while its champion is first loaded)."""
        model = self._models.get(name)
        if model is None:
            is_behind = name in self.champions.behind
            if is_behind or (not self.champions.are_known and self.serves(name)):
                if is_behind:
                    self.champions.request(name)
                raise RequestError(503, "The gateway is loading its models. Retry later.", Retry_After="1")
            raise RequestError(404, f"The gateway does not serve a model {name[:200]!r}.", "name")
        return model

    def find(self, name: str) -> ServedModel | None:
        """Return the model of that name; None if none of its versions has been asked for yet."""
        return self._models.get(name)

    def expect(self, name: str) -> ServedModel:
        """Return the model of that name, which is added if none of its versions has been loaded yet."""
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = ServedModel(name, is_behind=lambda: name in self.champions.behind)
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

    def inactive_names(self) -> list[str]:
        """Return the models that the gateway was told to serve by name and that have no active version."""
        return [name for name in self._names if name not in self._models or self._models[name].active is None]

    def is_due(self, name: str, version: int) -> bool:
        """Return whether to try to load a version now: one that failed is tried again only after a delay."""
        return self._load_backoff.is_due((name, version))

    def load_failure(self, name: str, version: int) -> str | None:
        """Return why a version could not be loaded at the last attempt; None if it was, or was never tried."""
        return self._load_backoff.reason((name, version))

    def status(self) -> list[ModelStatus]:
        """Return the status of all models, for the admin API."""
        return [self._models[name].status() for name in sorted(self._models)]

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
            self.champions.activated(name, version)
        previous = "no version" if before is None else f"version {before}"
        log.info("Activated model %s, version %d (previously active: %s)", name, version, previous)
        return model

    def deactivate(self, name: str, version: int) -> ServedModel:
        """Stop answering with a version that was withdrawn; nothing changes if another version is active.

        Raises RequestError (404) if there is no such model.
        """
        model = self.get(name)
        if model.active == version:
            self.stop(model)
        return model

    def withdraw(self, loaded: LoadedModel, reason: str) -> bool:
        """Stop using a version that has ended another process of the gateway. Returns False if it is not in use."""
        name, number = loaded.version.name, loaded.version.version
        model = self._models[name]
        if model.versions.get(number) is not loaded:
            return False
        log.error("Model %s: version %d is no longer used: %s", name, number, reason)
        if model.active == number:
            model.deactivate()
        model.remove(number)
        message = f"Version {number} is not loaded: {reason}."
        model.failures[number] = message
        self._load_backoff.failed((name, number), message)
        return True

    def stop(self, model: ServedModel) -> None:
        """Stop answering for a model whose champion was withdrawn."""
        if model.active is not None:
            log.warning(
                "Deactivated model %s, because its version %s was withdrawn. Deploy a version to serve the model again",
                model.name,
                model.active,
            )
        self.champions.forget(model.name)
        model.deactivate()

    def stop_loading(self) -> None:
        """Answer those who wait for a version to be loaded with an error."""
        self._loader.stop()

    def close(self) -> None:
        """Stop the threads after their current tasks."""
        self._loader.close()

    def _add(self, name: str, loaded: LoadedModel) -> None:
        """Keep a version that was loaded, even if no one waits for it any longer."""
        self.expect(name).add(loaded)

    def _report(self, name: str, version: int, error: RequestError, is_news: bool) -> None:
        """Report that a version could not be loaded."""
        if is_news:
            active = self._models[name].active if name in self._models else None
            kept = "No version is active" if active is None else f"Version {active} stays active"
            cause = None if isinstance(error.__cause__, MlopsError) else error.__cause__
            log.error("Model %s: %s %s", name, error.message, kept, exc_info=cause)
        if error.status == 422:
            self.expect(name).failures[version] = error.message
