"""Waits until the gateway answers for a model."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class EndpointReadyTrigger(WaitingTrigger):
    """Fires when the gateway answers for a model, or for a certain version of it.

    :param model_name: the registered model's name.
    :param version: the version that has to answer; None: whichever is the champion.
    :param gateway_conn_id: the connection of type `mlops_gateway`.
    """

    def __init__(
        self,
        *,
        model_name: str,
        version: int | None = None,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name
        self.version = version
        self.gateway_conn_id = gateway_conn_id
        self._fired_for: int | None = None

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {"model_name": self.model_name, "version": self.version, "gateway_conn_id": self.gateway_conn_id}

    def look(self) -> dict[str, Any] | None:
        """`{"model_name", "version", "url"}` of what answers. Raises BackendUnavailableError while the gateway does not."""
        hook = MlopsGatewayHook(self.gateway_conn_id)
        with hook.client() as client:
            status = client.models()
        active = {model["name"]: model["active"] for model in status}.get(self.model_name)
        if active is None or active == self._fired_for or self.version not in (None, active):
            return None
        return {"model_name": self.model_name, "version": active, "url": hook.endpoint_url(self.model_name)}

    def advance(self, found: dict[str, Any]) -> None:
        """Look for another version from now on."""
        self._fired_for = found["version"]
