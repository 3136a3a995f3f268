"""Trigger that waits until the gateway serves a model."""

from __future__ import annotations

from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.triggers.events import EndpointReadyEvent
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger


class EndpointReadyTrigger(WaitingTrigger[EndpointReadyEvent]):
    """Fires when the gateway serves predictions of a model, or of a certain version of it.

    :param model_name: name of the registered model.
    :param version: the version that must be active; None for any version.
    :param gateway_conn_id: id of a connection of type `mlops_gateway`.
    """

    def __init__(
        self,
        *,
        model_name: str,
        version: int | None = None,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.model_name = model_name
        self.version = version
        self.gateway_conn_id = gateway_conn_id
        self._fired_for: int | None = None

    @override
    def waiting_for(self) -> str:
        version = "any version" if self.version is None else f"version {self.version}"
        return f"the gateway to serve {version} of {self.model_name}"

    @override
    def observe(self) -> Observation[EndpointReadyEvent]:
        hook = MlopsGatewayHook(self.gateway_conn_id)
        with hook.client() as client:
            models = {model["name"]: model for model in client.models()}
        active = models[self.model_name]["active"] if self.model_name in models else None
        if active is None:
            return Observation("no version of it is active")
        seen = f"version {active} is active"
        if active == self._fired_for or self.version not in (None, active):
            return Observation(seen)
        url = hook.endpoint_url(self.model_name)
        return Observation(seen, EndpointReadyEvent(model_name=self.model_name, version=active, url=url))

    @override
    def advance(self, event: EndpointReadyEvent) -> None:
        self._fired_for = event["version"]
