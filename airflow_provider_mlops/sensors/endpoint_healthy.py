"""Sensor that waits until the gateway serves a model with few errors and, if a limit is set, fast enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.sensors.rendered import Number, Text, require_text, to_int
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.endpoint_healthy import EndpointHealthyTrigger
from airflow_provider_mlops.triggers.events import EndpointHealthyEvent


class EndpointHealthySensor(WaitingSensor[EndpointHealthyEvent]):
    """Waits until an endpoint is healthy in several consecutive checks.

    Each check reads the gateway's `/metrics` and judges the requests since the previous check, `poke_interval`
    seconds earlier. Returns `{"model_name", "version", "url", "requests", "error_rate", "latency_ms"}` of the last
    check. Earlier checks are kept in memory: after a restart of the triggerer the count starts again.

    :param model_name: Name of the registered model.
    :param version: The version that must be active, and whose requests count. By default any version may be active,
        and the requests of all versions count.
    :param max_error_rate: Largest proportion of requests that may be answered with status 500 or above.
    :param max_latency_ms: Upper limit of the latency quantile, in milliseconds. By default, latency is ignored.
    :param quantile: The quantile of the latency to compare; 0.95 is the 95th percentile.
    :param min_requests: Requests that a check needs. A check with fewer is inconclusive, and its requests are added
        to those of the next check.
    :param consecutive_checks: Number of consecutive checks in which the endpoint must be healthy.
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
        max_error_rate: float = 0.01,
        max_latency_ms: float | None = None,
        quantile: float = 0.95,
        min_requests: int = 20,
        consecutive_checks: int = 3,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= max_error_rate <= 1:
            raise InvalidSpecError("max_error_rate", max_error_rate, "it must be between 0 and 1")
        if not 0 < quantile < 1:
            raise InvalidSpecError("quantile", quantile, "it must be greater than 0 and less than 1, for example 0.95")
        for name, number in (("min_requests", min_requests), ("consecutive_checks", consecutive_checks)):
            if number < 1:
                raise InvalidSpecError(name, number, "it must be at least 1")
        if self.reschedule and not self.deferrable:
            raise InvalidSpecError(
                "mode",
                "reschedule",
                "it is not supported, because this sensor keeps state between checks. Use deferrable=True or "
                "mode='poke'",
            )
        self.model_name = model_name
        self.version = version
        self.max_error_rate = max_error_rate
        self.max_latency_ms = max_latency_ms
        self.quantile = quantile
        self.min_requests = min_requests
        self.consecutive_checks = consecutive_checks
        self.gateway_conn_id = gateway_conn_id

    @override
    def trigger(self) -> EndpointHealthyTrigger:
        return EndpointHealthyTrigger(
            model_name=require_text("model_name", self.model_name),
            version=to_int("version", self.version, "it must be the number of a model version"),
            max_error_rate=self.max_error_rate,
            max_latency_ms=self.max_latency_ms,
            quantile=self.quantile,
            min_requests=self.min_requests,
            consecutive_checks=self.consecutive_checks,
            gateway_conn_id=self.gateway_conn_id,
            poke_interval=self.poke_interval,
        )
