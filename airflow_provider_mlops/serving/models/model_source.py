"""The source of the models that a gateway serves: which versions are champions, and how a version is loaded."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from typing_extensions import override

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, MlopsError, describe_error
from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.aliases import CHAMPION, PREVIOUS
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models.crash_list import Crash, CrashList
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_TURN_SECONDS = 60.0
"""Time after which a version is loaded although another one still is, because that one may hang."""


class Aliases(NamedTuple):
    """The versions that the aliases of a model point to."""

    champion: int
    previous: int | None


class ModelSource(Protocol):
    """The source of models. Its methods may wait for a server, and each of them is called from its own thread."""

    def aliases(self) -> dict[str, Aliases]:
        """Return the aliases of each model to serve that has a champion. May raise any exception."""

    def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        """Load a version.

        Parameters
        ----------
        again
            Whether someone asks for this version, so that it is tried even if it has ended a process before.

        Raises RequestError: 404 if there is no such version, 422 if it cannot be served, 503 if the source is
        unavailable.
        """

    def crash_of(self, model: LoadedModel) -> str | None:
        """Return why a loaded version must not be used anymore; None if it may be."""
        return None

    def skipped(self) -> dict[tuple[str, int], str]:
        """Return the versions that are not loaded because they ended a process, and why."""
        return {}

    def is_deleted(self, version: ModelVersion) -> bool:
        """Return whether a version no longer exists. May raise any exception."""
        return False


class Trial(Protocol):
    """Tries a version in another process, because it may end the process that loads it or predicts with it."""

    def __call__(self, version: ModelVersion, directory: Path, *, again: bool) -> None:
        """Return if the version can be loaded from a directory and predict its example.

        Raises RequestError: 422 if it cannot, 503 if it could not be tried.
        """


def _skipped(crash: Crash) -> str:
    return f"Version {crash.version} is not loaded: {crash.reason}."


@contextlib.contextmanager
def _explained(version: int) -> Iterator[None]:
    """Turn what a version raises when it is loaded into a RequestError."""
    try:
        yield
    except RequestError:
        raise
    except BackendUnavailableError as error:
        raise RequestError(503, str(error), Retry_After="5") from error
    except MlopsError as error:
        raise RequestError(422, f"Version {version} cannot be loaded: {error}", "version") from error
    except BaseException as error:
        # A module of the model may call `sys.exit` when it is imported. Ctrl-C does not reach this thread.
        raise RequestError(422, f"Version {version} cannot be loaded ({describe_error(error)}).", "version") from error


def read_version(
    registry: Registry, version: ModelVersion, directory: Path, *, allow_pickle: bool = False
) -> LoadedModel:
    """Load a version from its files. Raises RequestError (422 if it cannot be served, 503)."""
    with _explained(version.version):
        return LoadedModel.read(registry, version, directory, allow_pickle=allow_pickle)


class RegistrySource(ModelSource):
    """The models of an MLflow registry.

    Parameters
    ----------
    names
        Models to serve. Without names, all models that have a champion are served.
    allow_pickle
        Whether pickled models may be loaded.
    trial
        Tries each version in a process of its own first.
    crashes
        The versions that ended a process, which are skipped.
    """

    def __init__(
        self,
        registry: Registry,
        names: Sequence[str] = (),
        *,
        allow_pickle: bool = False,
        trial: Trial | None = None,
        crashes: CrashList | None = None,
    ) -> None:
        self._registry = registry
        self._names = tuple(names)
        self._allow_pickle = allow_pickle
        self._trial = trial
        self._crashes = crashes
        self._imports = threading.Lock()
        self._loads = threading.Lock()

    @override
    def aliases(self) -> dict[str, Aliases]:
        self._import_mlflow()
        client = self._registry.client
        champions = {}
        token = None
        while True:
            page = client.search_registered_models(page_token=token)
            for model in page:
                if CHAMPION in model.aliases and (not self._names or model.name in self._names):
                    previous = model.aliases.get(PREVIOUS)
                    champion = int(model.aliases[CHAMPION])
                    champions[model.name] = Aliases(champion, None if previous is None else int(previous))
            token = page.token
            if not token:
                return champions

    @override
    def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        began = time.monotonic()
        self._import_mlflow()
        try:
            model = models.get(self._registry, name, version)
        except BackendUnavailableError as error:
            raise RequestError(503, str(error), Retry_After="5") from error
        except MlopsError as error:
            raise RequestError(
                404, str(error), error.field if isinstance(error, InvalidSpecError) else "version"
            ) from error
        except Exception as error:
            message = f"Version {version} of the model {name!r} could not be looked up: {error}"
            raise RequestError(503, message, Retry_After="5") from error
        last_crash = 0
        if self._crashes is not None:
            if again:
                self._crashes.forget(name, version)
            last_crash = self._crashes.last_number()
        self._raise_if_skipped(model)
        with _explained(version), models.downloaded(self._registry, model) as directory:
            if self._trial is not None:
                self._trial(model, directory, again=again)
            with self._turn():
                loaded = read_version(self._registry, model, directory, allow_pickle=self._allow_pickle)
        loaded.last_crash = last_crash
        log.info("Loaded %s in %.2f s: %s", model.uri, time.monotonic() - began, loaded.describe())
        return loaded

    @override
    def crash_of(self, model: LoadedModel) -> str | None:
        crash = None if self._crashes is None else self._crashes.find(model.version)
        return None if crash is None or crash.number <= model.last_crash else crash.reason

    @override
    def skipped(self) -> dict[tuple[str, int], str]:
        crashes = [] if self._crashes is None else self._crashes.all()
        return {(crash.model, crash.version): _skipped(crash) for crash in crashes if crash.is_skipped}

    @override
    def is_deleted(self, version: ModelVersion) -> bool:
        return models.find(self._registry, version.name, version.version) is None

    def _raise_if_skipped(self, model: ModelVersion) -> None:
        crash = None if self._crashes is None else self._crashes.find(model)
        if crash is not None:
            raise RequestError(422, _skipped(crash), "version")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Load one version at a time. The next one is tried in its own process in the meantime."""
        turn = self._loads
        if not turn.acquire(timeout=_TURN_SECONDS):
            # The version whose turn it is keeps its lock; the others get a new one.
            turn = self._loads = threading.Lock()
            turn.acquire()
        try:
            yield
        finally:
            turn.release()

    def _import_mlflow(self) -> None:
        """Import MLflow once: its modules import each other in circles, which two threads must not do at once."""
        with self._imports:
            import mlflow.models
            import mlflow.sklearn  # noqa: F401
