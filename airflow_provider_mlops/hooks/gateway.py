"""The hook for connections of type `mlops_gateway`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from pydantic import SecretStr

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.connection import address, find, secret
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.client.client import GatewayClient


@dataclass(frozen=True)
class GatewaySettings:
    """The settings of a connection of type `mlops_gateway`."""

    url: str = DEFAULT_GATEWAY_URL
    token: str | None = field(default=None, repr=False)

    def secrets(self) -> dict[str, SecretStr]:
        """Return the token under the name that a Workspace uses."""
        return {"gateway_token": SecretStr(self.token)} if self.token else {}


class MlopsGatewayHook(BaseHook):
    """Connects to the serving gateway, `airflow-mlops serve`.

    The host of the connection is the gateway's URL, and the password is the admin token. If the connection
    `mlops_gateway_default` does not exist, the gateway is expected on this machine at port 8710.

    :param gateway_conn_id: Id of the connection.
    """

    conn_name_attr = "gateway_conn_id"
    default_conn_name = "mlops_gateway_default"
    conn_type = "mlops_gateway"
    hook_name = "MLOps gateway"

    def __init__(self, gateway_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.gateway_conn_id = gateway_conn_id

    def settings(self) -> GatewaySettings:
        """Return the connection's settings. Raises InvalidSpecError if it does not exist and is not the default one."""
        connection = find(self.gateway_conn_id, self.default_conn_name, "gateway_conn_id")
        if connection is None:
            return GatewaySettings()
        return GatewaySettings(
            url=address(connection) or DEFAULT_GATEWAY_URL,
            token=secret(connection.password, "password"),
        )

    def get_conn(self) -> GatewayClient:
        """Return a client. All hooks have a method of this name."""
        return self.client()

    def client(self) -> GatewayClient:
        """Return a client. Its token is the connection's, or the one that a gateway on this machine has stored."""
        from airflow_provider_mlops.serving.client.client import GatewayClient
        from airflow_provider_mlops.serving.gateway.admin import token

        settings = self.settings()
        return GatewayClient(settings.url, settings.token or secret(token.find(storage_uri()), "token"))

    def endpoint_url(self, model_name: str) -> str:
        """Return the URL of a model's endpoint."""
        from airflow_provider_mlops.lifecycle.deploy.deployment import endpoint_url

        return endpoint_url(self.settings().url, model_name)

    def test_connection(self) -> tuple[bool, str]:
        """List the gateway's models, which requires the token. The test button of the connection form calls this."""
        try:
            url = self.settings().url
            with self.client() as client:
                models = len(client.models())
        except InvalidSpecError as error:
            if error.field.startswith("/"):
                return (
                    False,
                    f"The server at {url} is not the gateway: it has no {error.field}. Check the host.",
                )
            return False, str(error)
        except Exception as error:
            return False, str(error)
        return True, f"The gateway at {url} is available and has {pluralize(models, 'model')}."
