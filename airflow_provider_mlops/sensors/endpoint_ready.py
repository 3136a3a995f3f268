"""Sensor that waits until the gateway serves a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.sensors.rendered import Number, Text, require_text, to_int
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger
from airflow_provider_mlops.triggers.events import EndpointReadyEvent


class EndpointReadySensor(WaitingSensor[EndpointReadyEvent]):
    """Waits until the gateway serves predictions of a model, or of a certain version of it.

    Returns `{"model_name", "version", "url"}` of the endpoint.

    :param model_name: Name of the registered model.
    :param version: The version that must be active. By default, any version.
    :param gateway_conn_id: Id of a connection of type `mlops_gateway`.
    :param deferrable: Wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    template_fields: Sequence[str] = ("model_name", "version", "gateway_conn_id")
    ui_color = "#c9efe4"

    def __init__(
        self,
        *,
        model_name: Text,
        version: Number | None = None,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.version = version
        self.gateway_conn_id = gateway_conn_id

    @override
    def trigger(self) -> EndpointReadyTrigger:
        return EndpointReadyTrigger(
            model_name=require_text("model_name", self.model_name),
            version=to_int("version", self.version, "it must be the number of a model version"),
            gateway_conn_id=self.gateway_conn_id,
            poke_interval=self.poke_interval,
        )
