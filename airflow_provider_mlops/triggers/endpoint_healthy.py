"""Waits until the gateway answers for a model without many errors, and fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger
from airflow_provider_mlops.triggers.waiting import WaitingTrigger

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.gateway.http.request_counts import RequestCounts


class EndpointHealthyTrigger(WaitingTrigger):
    """Fires when an endpoint was healthy for several looks in a row.

    What it has seen is known to this process only: after a restart of the triggerer it begins to count anew.

    :param model_name: the registered model's name.
    :param version: the version that has to answer; None: whichever is the champion, and all versions are counted.
    :param max_error_rate: the share of requests that may be answered with a status of 500 and above.
    :param max_latency_ms: what the quantile of the latency may be at most, in milliseconds; None: it is not looked at.
    :param quantile: of the latency.
    :param min_requests: with fewer requests since the last look it tells nothing, and the next look takes both
        together.
    :param consecutive_checks: for how many looks in a row it has to be healthy.
    :param gateway_conn_id: the connection of type `mlops_gateway`.
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
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name
        self.version = version
        self.max_error_rate = max_error_rate
        self.max_latency_ms = max_latency_ms
        self.quantile = quantile
        self.min_requests = min_requests
        self.consecutive_checks = consecutive_checks
        self.gateway_conn_id = gateway_conn_id
        self._before: RequestCounts | None = None
        self._ready: dict[str, Any] | None = None
        self._healthy = 0

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "model_name": self.model_name,
            "version": self.version,
            "max_error_rate": self.max_error_rate,
            "max_latency_ms": self.max_latency_ms,
            "quantile": self.quantile,
            "min_requests": self.min_requests,
            "consecutive_checks": self.consecutive_checks,
            "gateway_conn_id": self.gateway_conn_id,
        }

    def look(self) -> dict[str, Any] | None:
        """`{"model_name", "version", "url", "requests", "error_rate", "latency_ms"}` of the last look.

        Raises BackendUnavailableError while the gateway does not answer.
        """
        from airflow_provider_mlops.serving.gateway.http.request_counts import RequestCounts

        try:
            ready = EndpointReadyTrigger(
                model_name=self.model_name, version=self.version, gateway_conn_id=self.gateway_conn_id
            ).look()
            with MlopsGatewayHook(self.gateway_conn_id).client() as client:
                now = RequestCounts.parse(client.metrics(), self.model_name, self.version)
        except MlopsError:
            self._begin_anew()
            raise
        seen = None if self._before is None else now.since(self._before)
        if ready is None or ready != self._ready or seen is None:
            self._begin_anew()
            self._ready, self._before = ready, now
            return None
        if seen.requests < self.min_requests:
            self.log.info("Only %d requests since the last look that told something", seen.requests)
            return None
        self._before = now
        seconds = seen.quantile(self.quantile)
        latency = None if seconds is None else 1000 * seconds
        self._healthy = self._healthy + 1 if self._is_healthy(seen, latency) else 0
        self.log.info(
            "%d requests, error rate %.4f, latency %s ms: healthy for %d of %d looks",
            *(seen.requests, seen.error_rate, latency, self._healthy, self.consecutive_checks),
        )
        if self._healthy < self.consecutive_checks:
            return None
        return {**ready, "requests": seen.requests, "error_rate": seen.error_rate, "latency_ms": latency}

    def advance(self, found: dict[str, Any]) -> None:
        """Look for the next time that it is healthy for so long."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._ready = self._before = None
        self._healthy = 0

    def _is_healthy(self, seen: RequestCounts, latency: float | None) -> bool:
        if seen.error_rate > self.max_error_rate:
            return False
        return self.max_latency_ms is None or (latency is not None and latency <= self.max_latency_ms)
