"""A deployment: which version of a model answers where, and what recorded it. Shared by deploy and rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.client.client import GatewayClient


class Deployment(BaseModel):
    """What answers for a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str = Field(description="The registered model.")
    version: int = Field(description="The version that answers: the champion.")
    previous_version: int | None = Field(description="The version that a rollback returns to; None if there is none.")
    endpoint_url: str | None = Field(description="Where it answers the Open Inference Protocol.")
    audit_sequence: int = Field(description="The number of the audit entry that made it champion.")

    @classmethod
    def of(cls, entry: AuditEntry, gateway_url: str | None) -> Deployment:
        """The deployment that an audit entry recorded, which is a promotion or a rollback."""
        assert entry.to_version is not None
        return cls(
            model_name=entry.model_name,
            version=entry.to_version,
            previous_version=entry.previous_version,
            endpoint_url=None if gateway_url is None else endpoint_url(gateway_url, entry.model_name),
            audit_sequence=entry.sequence,
        )


def endpoint_url(gateway_url: str, model_name: str) -> str:
    """Where the gateway answers for a model.

    >>> endpoint_url("http://127.0.0.1:8710/", "churn model")
    'http://127.0.0.1:8710/v2/models/churn%20model/infer'
    """
    from urllib.parse import quote

    return f"{gateway_url.rstrip('/')}/v2/models/{quote(model_name, safe='')}/infer"


def connect_gateway(workspace: Workspace, timeout: float) -> GatewayClient:
    """The client of the workspace's gateway. Raises InvalidSpecError if no gateway is configured.

    :param timeout: seconds to wait for an answer.
    """
    from airflow_provider_mlops.serving.client.client import GatewayClient
    from airflow_provider_mlops.serving.gateway.admin import token

    if workspace.gateway_url is None:
        raise InvalidSpecError(
            "gateway_url", None, "there is no gateway: set the host of the connection `mlops_gateway_default`"
        )
    return GatewayClient(
        workspace.gateway_url, workspace.secret("gateway_token") or token.find(workspace.storage_uri), timeout=timeout
    )
