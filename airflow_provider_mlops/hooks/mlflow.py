"""The hook for connections of type `mlflow`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from pydantic import SecretStr

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.hooks.connection import address, find, secret
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.hooks.trusted_types import trusted_types
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.registry.telemetry import disable_telemetry

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry


@dataclass(frozen=True)
class MlflowSettings(RegistrySettings):
    """The settings in a connection of type `mlflow`. Without a connection, only the storage URI is set."""

    def secrets(self) -> dict[str, SecretStr]:
        """Return the credentials under the names that a Workspace uses."""
        named = {"mlflow_username": self.username, "mlflow_password": self.password, "mlflow_token": self.token}
        return {name: SecretStr(value) for name, value in named.items() if value}


class MlflowHook(BaseHook):
    """Connects to MLflow's tracking server and model registry.

    The host of the connection is the tracking URI. The credentials are the login and password, or the extra `token`.
    Use the extra `registry_uri` if the registry is on another server. If the connection `mlflow_default` does not
    exist, a SQLite store under `[mlops] storage_uri` is used.

    :param mlflow_conn_id: Id of the connection.
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id

    def settings(self) -> MlflowSettings:
        """Return the connection's settings. Raises InvalidSpecError if it does not exist and is not the default one."""
        connection = find(self.mlflow_conn_id, self.default_conn_name, "mlflow_conn_id")
        if connection is None:
            return MlflowSettings(storage_uri(), trusted_types=trusted_types())
        extra = connection.extra_dejson
        return MlflowSettings(
            storage_uri(),
            tracking_uri=address(connection),
            registry_uri=extra.get("registry_uri") or None,
            username=connection.login or None,
            password=secret(connection.password, "password"),
            token=secret(extra.get("token"), "token"),
            trusted_types=trusted_types(),
        )

    def get_conn(self) -> Registry:
        """Return the registry. It sends nothing until it is used."""
        from airflow_provider_mlops.registry.connection import Registry

        return Registry(self.settings())

    def run_url(self, run_id: str) -> str | None:
        """Return the page of a run in the MLflow UI; None if MLflow is not accessed over HTTP. Sends nothing."""
        # MLflow's UI redirects from this address to the run's page in its experiment, which is unknown here.
        uri = self._page(self.settings().tracking_uri)
        return uri and f"{uri}/#/runs/{run_id}"

    def model_url(self, name: str, version: int) -> str | None:
        """Return the page of a model version in the MLflow UI; None if MLflow is not accessed over HTTP."""
        from urllib.parse import quote

        settings = self.settings()
        uri = self._page(settings.registry_uri or settings.tracking_uri)
        return uri and f"{uri}/#/models/{quote(name, safe='')}/versions/{version}"

    def test_connection(self) -> tuple[bool, str]:
        """Query the tracking server and the registry. The test button of the connection form calls this."""
        disable_telemetry()
        from mlflow.exceptions import MlflowException

        try:
            registry = self.get_conn()
            experiments = len(registry.client.search_experiments(max_results=1000))
            registry.client.search_registered_models(max_results=1)
        except MlflowException as error:
            return False, f"The server at {self.settings().tracking_uri} is not MLflow, or has failed: {error}"
        except Exception as error:
            return False, str(error)
        return True, f"MLflow at {registry.tracking_uri} is available and has {pluralize(experiments, 'experiment')}."

    @staticmethod
    def _page(uri: str | None) -> str | None:
        if uri is None or not uri.startswith(("http://", "https://")):
            return None
        scheme, _, rest = uri.partition("://")
        netloc, slash, path = rest.partition("/")
        return f"{scheme}://{netloc.rpartition('@')[2]}{slash}{path}".rstrip("/")
