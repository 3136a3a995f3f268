"""What Prometheus is told under `/metrics`: requests, latencies, rows and weights, for each model, version and arm.

Where several workers serve, each keeps its numbers in a file of its own in the directory that
`PROMETHEUS_MULTIPROC_DIR` names; whichever worker is asked adds them up, those of workers that have died too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from airflow_provider_mlops.serving.rollouts.shadow_queue import Outcome

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_LABELS = ("model", "version", "arm")


class Metrics:
    """The numbers of one process. They are counted on the event loop."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mlops_requests",
            "Requests for predictions by the HTTP status of their answer. Model and version are empty where none was "
            "found to answer.",
            (*_LABELS, "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "mlops_request_seconds",
            "Seconds from a request's last byte to its answer, of requests that were answered with a prediction.",
            _LABELS,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter("mlops_rows", "Rows that were predicted.", _LABELS, registry=self._registry)
        self._feedback = Counter("mlops_feedback", "Labels that were accepted.", registry=self._registry)
        self._copies = Counter(
            "mlops_shadow_copies",
            "Copies of requests for a shadow by what came of them: answered, failed, timed_out; or why they were lost: "
            "dropped, hung, ended, unlogged.",
            ("model", "version", "outcome"),
            registry=self._registry,
        )
        self._store_failures = Counter(
            "mlops_rollout_store_failures",
            "Attempts to use the rollout store that failed: to follow the rollouts, or to ingest evidence.",
            ("work",),
            registry=self._registry,
        )
        self._weights = Gauge(
            "mlops_weight",
            "Share of the requests that name no version which the routing gives to a version.",
            _LABELS,
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._under_way = Gauge(
            "mlops_requests_under_way",
            "Requests for predictions that have come and are not answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._answered: dict[tuple[str, int, str], tuple[Any, Any, Any]] = {}
        self._weighted: set[tuple[str, str, str]] = set()

    def answered(self, model: str, version: int, arm: str, seconds: float, rows: int) -> None:
        """Count a request that was answered with a prediction."""
        key = (model, version, arm)
        children = self._answered.get(key)
        if children is None:
            labels = (model, str(version), arm)
            children = (
                self._requests.labels(*labels, "200"),
                self._seconds.labels(*labels),
                self._rows.labels(*labels),
            )
            self._answered[key] = children
        requests, latency, predicted = children
        requests.inc()
        latency.observe(seconds)
        predicted.inc(rows)

    def refused(self, model: str, version: int | None, arm: str, status: int) -> None:
        """Count a request that was not."""
        self._requests.labels(model, "" if version is None else str(version), arm, str(status)).inc()

    def shadowed(self, model: str, version: int, outcome: Outcome, count: int) -> None:
        """Count copies for a shadow. May be called from any thread."""
        if count:
            self._copies.labels(model, str(version), outcome).inc(count)

    def store_failed(self, work: Literal["follow", "ingest"]) -> None:
        """Count that the rollout store could not be used."""
        self._store_failures.labels(work).inc()

    def labelled(self, count: int) -> None:
        """Count labels."""
        self._feedback.inc(count)

    def text(self, weights: Iterable[tuple[str, int, str, float]], under_way: int) -> bytes:
        """All numbers in Prometheus' format.

        :param weights: model, version, arm and weight of all that requests are routed to now.
        """
        current = {(model, str(version), arm): weight for model, version, arm, weight in weights}
        for gone in self._weighted - current.keys():
            current[gone] = 0.0
        for labels, weight in current.items():
            self._weights.labels(*labels).set(weight)
        self._weighted |= current.keys()
        self._under_way.set(under_way)
        if DIRECTORY_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
