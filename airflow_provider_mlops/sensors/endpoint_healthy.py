"""Waits until the gateway answers for a model without many errors, and fast enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.sensors.rendered import whole
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.endpoint_healthy import EndpointHealthyTrigger


class EndpointHealthySensor(WaitingSensor):
    """Waits until an endpoint was healthy for several looks in a row.

    A look takes the requests since the look before it, `poke_interval` seconds earlier, from the gateway's `/metrics`.
    Returns `{"model_name", "version", "url", "requests", "error_rate", "latency_ms"}` of the last look. What it has
    seen is not kept: after a restart of the triggerer it begins to count anew.

    :param model_name: the registered model's name.
    :param version: the version that has to answer, and whose requests count. By default whichever is the champion, and
        the requests of all versions count.
    :param max_error_rate: the share of requests that may be answered with a status of 500 and above.
    :param max_latency_ms: what the `quantile` of the latency may be at most, in milliseconds. By default it is not looked
        at.
    :param quantile: of the latency; 0.95 is the 95th percentile.
    :param min_requests: with fewer requests since the last look it tells nothing: neither healthy nor not. The next
        look takes both together.
    :param consecutive_checks: for how many looks in a row it has to be healthy.
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
        max_error_rate: float = 0.01,
        max_latency_ms: float | None = None,
        quantile: float = 0.95,
        min_requests: int = 20,
        consecutive_checks: int = 3,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= max_error_rate <= 1:
            raise InvalidSpecError("max_error_rate", max_error_rate, "give a share from 0 to 1")
        if not 0 < quantile < 1:
            raise InvalidSpecError("quantile", quantile, "give a share between 0 and 1")
        for name, number in (("min_requests", min_requests), ("consecutive_checks", consecutive_checks)):
            if number < 1:
                raise InvalidSpecError(name, number, "give a whole number of at least 1")
        if self.reschedule and not self.deferrable:
            raise InvalidSpecError("mode", "reschedule", "it has to remember its looks: give deferrable=True")
        self.model_name = model_name
        self.version = version
        self.max_error_rate = max_error_rate
        self.max_latency_ms = max_latency_ms
        self.quantile = quantile
        self.min_requests = min_requests
        self.consecutive_checks = consecutive_checks
        self.gateway_conn_id = gateway_conn_id

    def trigger(self) -> EndpointHealthyTrigger:
        """Asks the gateway. Raises InvalidSpecError if `version` is no number."""
        return EndpointHealthyTrigger(
            model_name=self.model_name,
            version=whole("version", self.version, "give the number of a version"),
            max_error_rate=self.max_error_rate,
            max_latency_ms=self.max_latency_ms,
            quantile=self.quantile,
            min_requests=self.min_requests,
            consecutive_checks=self.consecutive_checks,
            gateway_conn_id=self.gateway_conn_id,
            poke_interval=self.poke_interval,
        )
