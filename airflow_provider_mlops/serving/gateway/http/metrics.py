"""Metrics for Prometheus under `/metrics`: requests, latencies, rows and weights per model, version and arm.

If there are several workers, each stores its metrics in a file in the directory `PROMETHEUS_MULTIPROC_DIR`. The worker
that receives a request for `/metrics` adds up all files, including those of workers that have exited.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from airflow_provider_mlops.serving.gateway.http import metrics_directory
from airflow_provider_mlops.serving.policy.policy import VERIFICATION
from airflow_provider_mlops.serving.rollouts.evidence.reward_matching import RewardOutcome
from airflow_provider_mlops.serving.rollouts.shadow_queue import Outcome

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_LABELS = ("model", "version", "arm")


@dataclass
class VersionCounts:
    """Prediction requests of a version: answered, failed or rejected; rows; and seconds of those that were answered."""

    answered: int = 0
    failed: int = 0
    rows: int = 0
    seconds: float = 0.0


class Metrics:
    """The metrics of one process. Unless noted otherwise, methods run on the event loop."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mlops_requests",
            "Prediction requests by HTTP status. Model and version are empty if they could not be determined.",
            (*_LABELS, "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "mlops_request_seconds",
            "Seconds from a request's last byte to its response, for successful predictions.",
            _LABELS,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter("mlops_rows", "Predicted rows.", _LABELS, registry=self._registry)
        self._feedback = Counter("mlops_feedback", "Accepted labels and rewards.", registry=self._registry)
        self._limited = Counter(
            "mlops_limited_requests",
            "Requests that were refused because a client had used up its limit of requests, rows, bytes or labels, or "
            "because an address had sent too many wrong keys. The client is empty for requests without a valid key.",
            ("client", "limit"),
            registry=self._registry,
        )
        self._copies = Counter(
            "mlops_shadow_copies",
            "Copies of requests for a shadow by outcome: answered, failed or timed_out; or by the reason why they were "
            "lost: dropped, hung, ended or unlogged.",
            ("model", "version", "outcome"),
            registry=self._registry,
        )
        self._store_failures = Counter(
            "mlops_rollout_store_failures",
            "Failed attempts to follow rollouts in the rollout store or to ingest evidence into it.",
            ("work",),
            registry=self._registry,
        )
        self._rewards = Counter(
            "mlops_rollout_rewards",
            "Rewards for predictions of rollouts by outcome: counted; late: after the reward window; unmatched: no "
            "prediction of a rollout waited for it; missing: a prediction waited for it in vain.",
            ("outcome",),
            registry=self._registry,
        )
        self._weights = Gauge(
            "mlops_weight",
            "Share of a model's requests that a version receives, among requests without a version in their path.",
            _LABELS,
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._in_progress = Gauge(
            "mlops_requests_in_progress",
            "Prediction requests that have arrived and have no response yet.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._success_counters: dict[tuple[str, int, str], tuple[Any, Any, Any]] = {}
        self._reported_weights: set[tuple[str, str, str]] = set()

    def count_prediction(self, model: str, version: int, arm: str, seconds: float, rows: int) -> None:
        """Count a successful prediction request."""
        key = (model, version, arm)
        counters = self._success_counters.get(key)
        if counters is None:
            labels = (model, str(version), arm)
            counters = (
                self._requests.labels(*labels, "200"),
                self._seconds.labels(*labels),
                self._rows.labels(*labels),
            )
            self._success_counters[key] = counters
        requests, latency, predicted = counters
        requests.inc()
        latency.observe(seconds)
        predicted.inc(rows)

    def count_error(self, model: str, version: int | None, arm: str, status: int) -> None:
        """Count a failed prediction request."""
        self._requests.labels(model, "" if version is None else str(version), arm, str(status)).inc()

    def count_copies(self, model: str, version: int, outcome: Outcome, count: int) -> None:
        """Count copies for a shadow. May be called from any thread."""
        if count:
            self._copies.labels(model, str(version), outcome).inc(count)

    def count_store_failure(self, work: Literal["follow", "ingest"]) -> None:
        """Count a failed attempt to use the rollout store."""
        self._store_failures.labels(work).inc()

    def count_rewards(self, outcomes: Mapping[RewardOutcome, int]) -> None:
        """Count rewards of rollouts by outcome."""
        for outcome, count in outcomes.items():
            self._rewards.labels(outcome).inc(count)

    def count_limited(self, client: str, limit: str) -> None:
        """Count a request that was refused because of a client's limit."""
        self._limited.labels(client, limit).inc()

    def count_feedback(self, count: int) -> None:
        """Count accepted labels and rewards."""
        self._feedback.inc(count)

    def text(self, weights: Iterable[tuple[str, int, str, float]], in_progress: int) -> bytes:
        """Return all metrics in Prometheus' text format.

        Parameters
        ----------
        weights
            Model, version, arm and weight of everything that requests are currently routed to.
        in_progress
            Number of prediction requests in progress.
        """
        current = {(model, str(version), arm): weight for model, version, arm, weight in weights}
        for ended in self._reported_weights - current.keys():
            current[ended] = 0.0
        for labels, weight in current.items():
            self._weights.labels(*labels).set(weight)
        self._reported_weights |= current.keys()
        self._in_progress.set(in_progress)
        return generate_latest(self._of_all_workers())

    def counts(self, model: str) -> Mapping[int, VersionCounts]:
        """Return the counts of each version of a model, without requests that check the gateway."""
        counts: defaultdict[int, VersionCounts] = defaultdict(VersionCounts)
        for family in self._of_all_workers().collect():
            if family.name not in ("mlops_requests", "mlops_request_seconds", "mlops_rows"):
                continue
            for sample in family.samples:
                labels = sample.labels
                if labels.get("model") != model or not labels["version"] or labels["arm"] == VERIFICATION:
                    continue
                of_version = counts[int(labels["version"])]
                if sample.name == "mlops_requests_total":
                    if labels["status"] == "200":
                        of_version.answered += int(sample.value)
                    else:
                        of_version.failed += int(sample.value)
                elif sample.name == "mlops_request_seconds_sum":
                    of_version.seconds += sample.value
                elif sample.name == "mlops_rows_total":
                    of_version.rows += int(sample.value)
        return counts

    def _of_all_workers(self) -> CollectorRegistry:
        if metrics_directory.VARIABLE not in os.environ:
            return self._registry
        all_processes = CollectorRegistry()
        MultiProcessCollector(all_processes)  # type: ignore[no-untyped-call]
        return all_processes
