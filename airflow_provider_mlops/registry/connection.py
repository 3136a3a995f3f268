"""The connection to MLflow: a server, a database, or the embedded default under the storage URI."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.registry.guard import Guard, GuardedClient
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.registry.telemetry import disable_telemetry

if TYPE_CHECKING:
    from mlflow import MlflowClient


log = logging.getLogger(__name__)

# The kind of the experiment. Without it, MLflow's UI guesses whether the experiment is about prompts and agents.
_EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
# Progress bars and links on standard output are made for notebooks; a task has its log.
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
# By default MLflow tries for more than four minutes before it fails. Airflow's retries do that better.
_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
_FIRST_CALL_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


class Registry:
    """MLflow as the steps use it. It has no global state, so a process can use several registries.

    >>> registry = Registry(RegistrySettings("/data/mlops", tracking_uri="https://mlflow.example.com"))
    >>> registry.model_url("churn", 3)
    'https://mlflow.example.com/#/models/churn/versions/3'
    """

    def __init__(self, settings: RegistrySettings) -> None:
        disable_telemetry()
        self.storage_uri = settings.storage_uri
        self.trusted_types = settings.trusted_types
        self.embedded = settings.tracking_uri is None
        self.tracking_uri = (settings.tracking_uri or _embedded_uri(settings.storage_uri)).rstrip("/")
        self.registry_uri = (settings.registry_uri or self.tracking_uri).rstrip("/")
        self._credentials = _credentials(settings)
        self._client: MlflowClient | None = None
        self.guard = Guard(_without_password(self.tracking_uri), self._settings(_TIMEOUTS))

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. The first access checks that MLflow is available and accepts the credentials.

        Raises BackendUnavailableError within seconds if it is not available, and InvalidSpecError if it rejects the
        credentials.
        """
        if self._client is None:
            self._client = self._connect()
        return self._client

    def experiment(self, name: str) -> str:
        """Return the id of the experiment, and create it if it does not exist.

        Raises InvalidSpecError if the experiment was deleted.
        """
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            location = None
            if not _is_http(self.tracking_uri):
                location = storage.join(self.storage_uri, "mlflow-artifacts", quote(name, safe=""))
                if storage.is_local(location):
                    location = "file://" + quote(storage.local_path(location))
            try:
                return self.client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_KIND)
            except MlflowException:
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise InvalidSpecError(
                "experiment", name, "the experiment was deleted in MLflow. Restore it there, or use another name"
            )
        return str(experiment.experiment_id)

    def url(self, run_id: str, experiment_id: str | None = None) -> str | None:
        """Return the URL of a run in the MLflow UI; None if MLflow is not reached over HTTP."""
        if not _is_http(self.tracking_uri):
            return None
        if experiment_id is None:
            experiment_id = self.client.get_run(run_id).info.experiment_id
        return f"{_without_password(self.tracking_uri)}/#/experiments/{experiment_id}/runs/{run_id}"

    def model_url(self, name: str, version: int) -> str | None:
        """Return the URL of a model version in the MLflow UI; None if MLflow is not reached over HTTP."""
        if not _is_http(self.registry_uri):
            return None
        return f"{_without_password(self.registry_uri)}/#/models/{quote(name, safe='')}/versions/{version}"

    def _settings(self, timeouts: Mapping[str, str]) -> dict[str, str | None]:
        settings = dict(self._credentials)
        if _is_http(self.tracking_uri) or _is_http(self.registry_uri):
            settings |= {name: value for name, value in {**_QUIET, **timeouts}.items() if name not in os.environ}
        return settings

    def _connect(self) -> MlflowClient:
        from mlflow import MlflowClient

        _check_reachable(self.tracking_uri)
        _check_reachable(self.registry_uri)
        first = Guard(self.guard.address, self._settings(_FIRST_CALL_TIMEOUTS))
        explained = _explain_unknown_address(self.tracking_uri, self.registry_uri)
        with first(), explained, _one_at_a_time(self.tracking_uri):
            client = MlflowClient(self.tracking_uri, self.registry_uri)
            client.search_experiments(max_results=1)
            if self.registry_uri != self.tracking_uri:
                client.search_registered_models(max_results=1)
        return cast("MlflowClient", GuardedClient(client, self.guard))


def _credentials(settings: RegistrySettings) -> dict[str, str | None]:
    """Return the environment variables with which MLflow authenticates; None unsets one."""
    if not (settings.username or settings.password or settings.token):
        return {}
    return {
        "MLFLOW_TRACKING_USERNAME": settings.username,
        "MLFLOW_TRACKING_PASSWORD": settings.password,
        "MLFLOW_TRACKING_TOKEN": None if settings.username else settings.token,
    }


@contextmanager
def _explain_unknown_address(tracking_uri: str, registry_uri: str) -> Iterator[None]:
    """Turn MLflow's error for an address that it does not support into an InvalidSpecError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        for field, uri in (("tracking_uri", tracking_uri), ("registry_uri", registry_uri)):
            if f"URI '{uri}'" in str(error) or f"URI: '{uri}'" in str(error):
                raise InvalidSpecError(
                    field,
                    _without_password(uri),
                    "MLflow does not support this address. Use http://, https:// or a database URL such as sqlite:///mlflow.db",
                ) from error
        raise


def _embedded_uri(storage_uri: str) -> str:
    if not storage.is_local(storage_uri):
        raise InvalidSpecError(
            "tracking_uri",
            None,
            f"the embedded MLflow needs a local storage directory, but the storage URI is {storage_uri}. "
            "Configure a connection to an MLflow server",
        )
    return f"sqlite:///{os.path.abspath(storage.local_path(storage_uri))}/mlflow.db"


@contextmanager
def _one_at_a_time(tracking_uri: str) -> Iterator[None]:
    """Let one process create the SQLite database while others wait."""
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    path = tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_reachable(uri: str) -> None:
    """Raise BackendUnavailableError if a server refuses connections. MLflow itself takes minutes for a database."""
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    port = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}.get(scheme)
    if port is None or not parts.hostname or (_is_http(uri) and _proxied(parts.hostname, scheme)):
        return
    try:
        socket.create_connection((parts.hostname, parts.port or port), timeout=5).close()
    except OSError as error:
        raise BackendUnavailableError(
            "MLflow",
            _without_password(uri),
            error.strerror or str(error),
            "Check that it is running and that the host of the connection is correct",
        ) from error


def _proxied(hostname: str, scheme: str) -> bool:
    from urllib.request import getproxies, proxy_bypass

    return scheme in getproxies() and not proxy_bypass(hostname)


def _is_http(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
