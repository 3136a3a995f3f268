"""The source of the models that a gateway serves: which versions are champions, and how a version is loaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from typing_extensions import override

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, MlopsError
from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.aliases import CHAMPION, PREVIOUS
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.request_error import RequestError


class Aliases(NamedTuple):
    """The versions that the aliases of a model point to."""

    champion: int
    previous: int | None


class ModelSource(Protocol):
    """The source of models. Its methods may wait for a server, and each of them is called from its own thread."""

    def aliases(self) -> dict[str, Aliases]:
        """Return the aliases of each model to serve that has a champion. May raise any exception."""

    def load(self, name: str, version: int) -> LoadedModel:
        """Load a version.

        Raises RequestError: 404 if there is no such version, 422 if it cannot be served, 503 if the source is
        unavailable.
        """


class RegistrySource(ModelSource):
    """The models of an MLflow registry.

    Parameters
    ----------
    names
        Models to serve. Without names, all models that have a champion are served.
    allow_pickle
        Whether pickled models may be loaded.
    """

    def __init__(self, registry: Registry, names: Sequence[str] = (), *, allow_pickle: bool = False) -> None:
        self._registry = registry
        self._names = tuple(names)
        self._allow_pickle = allow_pickle
        self._imports = threading.Lock()

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
    def load(self, name: str, version: int) -> LoadedModel:
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
        try:
            return LoadedModel.load(self._registry, model, allow_pickle=self._allow_pickle)
        except BackendUnavailableError as error:
            raise RequestError(503, str(error), Retry_After="5") from error
        except MlopsError as error:
            raise RequestError(422, f"Version {version} cannot be loaded: {error}", "version") from error
        except BaseException as error:
            # A module of the model may call `sys.exit` when it is imported.
            if isinstance(error, KeyboardInterrupt):
                raise
            raise RequestError(
                422, f"Version {version} cannot be loaded ({type(error).__name__}: {error}).", "version"
            ) from error

    def _import_mlflow(self) -> None:
        """Import MLflow once: its modules import each other in circles, which two threads must not do at once."""
        with self._imports:
            import mlflow.models
            import mlflow.sklearn  # noqa: F401
