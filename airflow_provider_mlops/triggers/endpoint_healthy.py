"""Trigger that waits until the gateway serves a model with few errors and, if a limit is set, fast enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Unpack

from typing_extensions import override

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger
from airflow_provider_mlops.triggers.events import EndpointHealthyEvent, EndpointReadyEvent
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.gateway.http.request_counts import RequestCounts


class EndpointHealthyTrigger(WaitingTrigger[EndpointHealthyEvent]):
    """Fires when an endpoint was healthy in several consecutive checks.

    Earlier checks are kept in memory: after a restart of the triggerer the count starts again.

    :param model_name: name of the registered model.
    :param version: the version that must be active, and whose requests count. None for any active version; then the
        requests of all versions count.
    :param max_error_rate: largest proportion of requests that may be answered with status 500 or above.
    :param max_latency_ms: upper limit of the latency quantile, in milliseconds; None to ignore latency.
    :param quantile: the quantile of the latency; 0.95 is the 95th percentile.
    :param min_requests: requests that a check needs. A check with fewer is inconclusive, and its requests are added
        to those of the next check.
    :param consecutive_checks: number of consecutive checks in which the endpoint must be healthy.
    :param gateway_conn_id: id of a connection of type `mlops_gateway`.
    """

    def __init__(
        self,
        *,
        model_name: str,
        version: int | None = None,
        max_error_rate: float = 0.01,
        max_latency_ms: float | None = None,
        quantile: float = 0.95,
        min_requests: int = 20,
        consecutive_checks: int = 3,
        gateway_conn_id: str = MlopsGatewayHook.default_conn_name,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.model_name = model_name
        self.version = version
        self.max_error_rate = max_error_rate
        self.max_latency_ms = max_latency_ms
        self.quantile = quantile
        self.min_requests = min_requests
        self.consecutive_checks = consecutive_checks
        self.gateway_conn_id = gateway_conn_id
        self._counts: RequestCounts | None = None
        self._ready: EndpointReadyEvent | None = None
        self._healthy_checks = 0

    @override
    def waiting_for(self) -> str:
        model = self.model_name if self.version is None else f"{self.model_name} version {self.version}"
        limits = f"error rate at most {self.max_error_rate:g}"
        if self.max_latency_ms is not None:
            limits += f", {100 * self.quantile:g}th percentile of latency at most {self.max_latency_ms:g} ms"
        return f"{model} to be healthy in {pluralize(self.consecutive_checks, 'consecutive check')} ({limits})"

    @override
    def observe(self) -> Observation[EndpointHealthyEvent]:
        from airflow_provider_mlops.serving.gateway.http.request_counts import RequestCounts

        try:
            endpoint = EndpointReadyTrigger(
                model_name=self.model_name, version=self.version, gateway_conn_id=self.gateway_conn_id
            ).observe()
            with MlopsGatewayHook(self.gateway_conn_id).client() as client:
                counts = RequestCounts.parse(client.metrics(), self.model_name, self.version)
        except MlopsError:
            self._start_again()
            raise
        recent = None if self._counts is None else counts.since(self._counts)
        if endpoint.event is None or endpoint.event != self._ready or recent is None:
            self._start_again()
            self._ready, self._counts = endpoint.event, counts
            return Observation(f"{endpoint.seen}; requests count from now on" if endpoint.event else endpoint.seen)
        if recent.requests < self.min_requests:
            return Observation(
                f"{pluralize(recent.requests, 'request')} since the last conclusive check, required at least "
                f"{self.min_requests:,}"
            )
        self._counts = counts
        seconds = recent.quantile(self.quantile)
        latency_ms = None if seconds is None else 1000 * seconds
        self._healthy_checks = self._healthy_checks + 1 if self._is_healthy(recent, latency_ms) else 0
        seen = (
            f"{pluralize(recent.requests, 'request')}, error rate {recent.error_rate:.4f}, latency "
            f"{_format_latency(latency_ms)}; healthy in {self._healthy_checks} of {self.consecutive_checks} checks"
        )
        if self._healthy_checks < self.consecutive_checks:
            return Observation(seen)
        return Observation(
            seen,
            EndpointHealthyEvent(
                **endpoint.event, requests=recent.requests, error_rate=recent.error_rate, latency_ms=latency_ms
            ),
        )

    @override
    def advance(self, event: EndpointHealthyEvent) -> None:
        self._start_again()

    def _start_again(self) -> None:
        self._ready = self._counts = None
        self._healthy_checks = 0

    def _is_healthy(self, counts: RequestCounts, latency_ms: float | None) -> bool:
        if counts.error_rate > self.max_error_rate:
            return False
        return self.max_latency_ms is None or (latency_ms is not None and latency_ms <= self.max_latency_ms)


def _format_latency(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "unknown"
    return "longer than the gateway measures" if math.isinf(milliseconds) else f"{milliseconds:.1f} ms"
