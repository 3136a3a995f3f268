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
from airflow_provider_mlops.serving.client.credentials import ClientTls
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.client.client import GatewayClient


@dataclass(frozen=True)
class GatewaySettings:
    """The settings of a connection of type `mlops_gateway`."""

    url: str = DEFAULT_GATEWAY_URL
    key: str | None = field(default=None, repr=False)
    tls: ClientTls = field(default_factory=ClientTls)

    def secrets(self) -> dict[str, SecretStr]:
        """Return the key under the name that a Workspace uses."""
        return {"gateway_key": SecretStr(self.key)} if self.key else {}


class MlopsGatewayHook(BaseHook):
    """Connects to the serving gateway, `airflow-mlops serve`.

    The host of the connection is the gateway's URL, and the password is a key of the gateway. The extra fields
    `ca_bundle`, `certificate` and `certificate_key` name files for TLS. If the connection `mlops_gateway_default` does
    not exist, the gateway is expected on this machine at port 8710.

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
        """Return the connection's settings, with the local key of a gateway on this machine if it has no key.

        Raises InvalidSpecError if it does not exist and is not the default one.
        """
        connection = find(self.gateway_conn_id, self.default_conn_name, "gateway_conn_id")
        if connection is None:
            return GatewaySettings(key=_local_key())
        extra = connection.extra_dejson
        return GatewaySettings(
            url=address(connection) or DEFAULT_GATEWAY_URL,
            key=secret(connection.password, "password") or _local_key(),
            tls=ClientTls(**{name: extra.get(name) or None for name in ClientTls.model_fields}),
        )

    def get_conn(self) -> GatewayClient:
        """Return a client. All hooks have a method of this name."""
        return self.client()

    def client(self) -> GatewayClient:
        """Return a client."""
        from airflow_provider_mlops.serving.client.client import GatewayClient

        settings = self.settings()
        return GatewayClient(settings.url, settings.key, tls=settings.tls)

    def endpoint_url(self, model_name: str) -> str:
        """Return the URL of a model's endpoint."""
        from airflow_provider_mlops.lifecycle.deploy.deployment import endpoint_url

        return endpoint_url(self.settings().url, model_name)

    def test_connection(self) -> tuple[bool, str]:
        """List the gateway's models, for the test button of the form. The key needs the right `administration`."""
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


def _local_key() -> str | None:
    from airflow_provider_mlops.serving.gateway.access import local_key

    return secret(local_key.find(storage_uri()), "key")
