"""A deployment: the version of a model that answers, its endpoint, and its audit entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.client.client import GatewayClient


class Deployment(BaseModel):
    """The version that answers for a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str = Field(description="Name of the registered model.")
    version: int = Field(description="Version that answers requests, which is the champion.")
    previous_version: int | None = Field(description="Version that a rollback returns to; None if there is none.")
    endpoint_url: str | None = Field(
        description="URL of the endpoint (Open Inference Protocol); None if no gateway is configured."
    )
    audit_sequence: int = Field(description="Number of the audit entry that recorded the decision.")

    @classmethod
    def of(cls, entry: AuditEntry, gateway_url: str | None) -> Deployment:
        """Return the deployment that an audit entry recorded."""
        if entry.to_version is None:
            raise ValueError(
                f"audit entry {entry.sequence} of {entry.model_name} does not record a deployment, because it withdrew "
                "the champion"
            )
        return cls(
            model_name=entry.model_name,
            version=entry.to_version,
            previous_version=entry.previous_version,
            endpoint_url=None if gateway_url is None else endpoint_url(gateway_url, entry.model_name),
            audit_sequence=entry.sequence,
        )


def endpoint_url(gateway_url: str, model_name: str) -> str:
    """Return the URL at which the gateway answers for a model.

    >>> endpoint_url("http://127.0.0.1:8710/", "churn model")
    'http://127.0.0.1:8710/v2/models/churn%20model/infer'
    """
    from urllib.parse import quote

    return f"{gateway_url.rstrip('/')}/v2/models/{quote(model_name, safe='')}/infer"


def connect_gateway(workspace: Workspace, timeout: float) -> GatewayClient:
    """Return a client of the workspace's gateway. Raises InvalidSpecError if no gateway is configured.

    Parameters
    ----------
    timeout
        Maximum time in seconds for a response.
    """
    from airflow_provider_mlops.serving.client.client import GatewayClient
    from airflow_provider_mlops.serving.gateway.access import local_key

    if workspace.gateway_url is None:
        raise InvalidSpecError(
            "gateway_url", None, "no gateway is configured. Set the host of the connection 'mlops_gateway_default'"
        )
    key = workspace.secret("gateway_key") or local_key.find(workspace.storage_uri)
    return GatewayClient(workspace.gateway_url, key, timeout, tls=workspace.gateway_tls)
