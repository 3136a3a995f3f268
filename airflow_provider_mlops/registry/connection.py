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

if TYPE_CHECKING:
    from mlflow import MlflowClient


log = logging.getLogger(__name__)

# Which kind of experiment it is; MLflow's UI would have to guess whether it is one of prompts and agents.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
# Progress bars and links printed to standard output belong to notebooks; a task has its log.
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
# By default MLflow tries for more than four minutes before it gives up. Airflow's retries do that better.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
_FIRST_CALL = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


class Registry:
    """MLflow as the steps use it. Nothing of it is global: two of them in one process do not disturb each other.

    :param tracking_uri: where MLflow keeps runs: `http(s)://...`, or an SQLAlchemy URL. None is the embedded
        default, an SQLite database `{storage_uri}/mlflow.db`.
    :param registry_uri: where MLflow keeps models; by default in the same place.
    :param storage_uri: under it lie the audit trail and, unless a server decides, the artifacts.
    :param username: with `password`, for basic authentication; or `token`, for a bearer token. Without them
        MLflow's own environment variables hold.
    """

    def __init__(
        self,
        tracking_uri: str | None,
        registry_uri: str | None = None,
        *,
        storage_uri: str,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
    ) -> None:
        self.storage_uri = storage_uri
        self.embedded = tracking_uri is None
        self.tracking_uri = tracking_uri.rstrip("/") if tracking_uri else _embedded_uri(storage_uri)
        self.registry_uri = (registry_uri or self.tracking_uri).rstrip("/")
        credentials: dict[str, str | None] = {}
        if username or password or token:
            credentials = {
                "MLFLOW_TRACKING_USERNAME": username,
                "MLFLOW_TRACKING_PASSWORD": password,
                "MLFLOW_TRACKING_TOKEN": None if username else token,
            }
        self._credentials = credentials
        self._client: MlflowClient | None = None
        self.guard = Guard(_without_password(self.tracking_uri), self._settings(_PATIENCE))

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. The first access sees that MLflow is there and lets us in.

        Raises BackendUnavailableError within seconds when it is not, InvalidSpecError when it refuses the credentials.
        """
        if self._client is None:
            self._client = self._connect()
        return self._client

    def experiment(self, name: str) -> str:
        """The id of the experiment, which is created if it is not there. Raises InvalidSpecError if it is deleted."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = None
            if not _is_http(self.tracking_uri):
                location = storage.join(self.storage_uri, "mlflow-artifacts", quote(name, safe=""))
                if storage.is_local(location):
                    location = "file://" + quote(storage.local_path(location))
            try:
                return self.client.create_experiment(name, artifact_location=location, tags=_KIND)
            except MlflowException:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise InvalidSpecError("experiment", name, "it is deleted in MLflow: restore it there, or name another one")
        return str(found.experiment_id)

    def url(self, run_id: str, experiment_id: str | None = None) -> str | None:
        """The page of a run in the MLflow UI; None when MLflow is not reached over HTTP."""
        if not _is_http(self.tracking_uri):
            return None
        if experiment_id is None:
            experiment_id = self.client.get_run(run_id).info.experiment_id
        return f"{_without_password(self.tracking_uri)}/#/experiments/{experiment_id}/runs/{run_id}"

    def model_url(self, name: str, version: int) -> str | None:
        """The page of a model version in the MLflow UI; None when MLflow is not reached over HTTP."""
        if not _is_http(self.registry_uri):
            return None
        return f"{_without_password(self.registry_uri)}/#/models/{quote(name, safe='')}/versions/{version}"

    def _settings(self, patience: Mapping[str, str]) -> dict[str, str | None]:
        settings = dict(self._credentials)
        if _is_http(self.tracking_uri) or _is_http(self.registry_uri):
            settings |= {name: value for name, value in {**_QUIET, **patience}.items() if name not in os.environ}
        return settings

    def _connect(self) -> MlflowClient:
        from mlflow import MlflowClient

        _check_reachable(self.tracking_uri)
        _check_reachable(self.registry_uri)
        first = Guard(self.guard.address, self._settings(_FIRST_CALL))
        known = _known_kinds(self.tracking_uri, self.registry_uri)
        with first(), known, _one_at_a_time(self.tracking_uri):
            client = MlflowClient(self.tracking_uri, self.registry_uri)
            client.search_experiments(max_results=1)
            if self.registry_uri != self.tracking_uri:
                client.search_registered_models(max_results=1)
        return cast("MlflowClient", GuardedClient(client, self.guard))


@contextmanager
def _known_kinds(tracking_uri: str, registry_uri: str) -> Iterator[None]:
    """Turn what MLflow raises for an address of a kind that it does not know into an InvalidSpecError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        for field, uri in (("tracking_uri", tracking_uri), ("registry_uri", registry_uri)):
            if f"URI '{uri}'" in str(error) or f"URI: '{uri}'" in str(error):
                raise InvalidSpecError(
                    field,
                    _without_password(uri),
                    "MLflow knows no such kind of address: write http://, https:// or a database such as sqlite:///",
                ) from error
        raise


def _embedded_uri(storage_uri: str) -> str:
    if not storage.is_local(storage_uri):
        raise InvalidSpecError(
            "tracking_uri",
            None,
            f"the embedded MLflow needs a local directory, and the storage lies at {storage_uri}: "
            "configure a connection to an MLflow server",
        )
    return f"sqlite:///{os.path.abspath(storage.local_path(storage_uri))}/mlflow.db"


@contextmanager
def _one_at_a_time(tracking_uri: str) -> Iterator[None]:
    """Of several processes that find no SQLite database, one creates it and the others wait."""
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    path = tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_reachable(uri: str) -> None:
    """Raise BackendUnavailableError if nobody listens at a server's port, which MLflow takes minutes to say of a database."""
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
            str(error),
            "Check that it is running and that the host of the connection is right",
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
