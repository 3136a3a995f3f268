"""Waits until the gateway answers for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.sensors.rendered import whole
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger


class EndpointReadySensor(WaitingSensor):
    """Waits until the gateway answers for a model with its champion, or with a certain version.

    Returns `{"model_name", "version", "url"}` of what answers.

    :param model_name: the registered model's name.
    :param version: the version that has to answer. By default whichever is the champion.
    :param gateway_conn_id: the connection of type `mlops_gateway`.
    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    template_fields: Sequence[str] = ("model_name", "version", "gateway_conn_id")
    ui_color = "#c9efe4"

    def __init__(
        self,
        *,
        model_name: str,
        version: int | str | None = None,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.version = version
        self.gateway_conn_id = gateway_conn_id

    def trigger(self) -> EndpointReadyTrigger:
        """Asks the gateway. Raises InvalidSpecError if `version` is no number."""
        return EndpointReadyTrigger(
            model_name=self.model_name,
            version=whole("version", self.version, "give the number of a version"),
            gateway_conn_id=self.gateway_conn_id,
            poke_interval=self.poke_interval,
        )
