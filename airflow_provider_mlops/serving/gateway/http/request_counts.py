"""Numbers of requests and latencies of a model, parsed from the text of `/metrics`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from airflow_provider_mlops.serving.policy.policy import VERIFICATION


@dataclass(frozen=True)
class RequestCounts:
    """Prediction requests since the gateway started, or between two points in time.

    Parameters
    ----------
    requests
        Number of requests, without verification requests.
    failed
        Number of responses with status 500 or above.
    within
        Number of predictions that took at most this many seconds, per bucket of the histogram.
    """

    requests: int = 0
    failed: int = 0
    within: Mapping[float, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, model: str, version: int | None = None) -> Self:
        """Return the counts of a model, or of one of its versions, in the text of `/metrics`."""
        requests = failed = 0
        within: Counter[float] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sample.labels
                if labels.get("model") != model or labels.get("arm") == VERIFICATION:
                    continue
                if version is not None and labels.get("version") != str(version):
                    continue
                if sample.name == "mlops_requests_total":
                    requests += int(sample.value)
                    failed += int(sample.value) if labels["status"] >= "500" else 0
                elif sample.name == "mlops_request_seconds_bucket":
                    within[float(labels["le"])] += int(sample.value)
        return cls(requests, failed, within)

    def since(self, earlier: RequestCounts) -> RequestCounts | None:
        """Return the counts since earlier ones; None if the gateway has restarted in between."""
        within = {edge: count - earlier.within.get(edge, 0) for edge, count in self.within.items()}
        added = RequestCounts(self.requests - earlier.requests, self.failed - earlier.failed, within)
        return None if min(added.requests, added.failed, *within.values(), 0) < 0 else added

    @property
    def error_rate(self) -> float:
        """Fraction of requests that failed; 0 if there were none."""
        return self.failed / self.requests if self.requests else 0.0

    def quantile(self, probability: float) -> float | None:
        """Return a quantile of the latency in seconds; None if there were no predictions.

        Latencies are interpolated linearly within a bucket. Above the last bucket, the quantile is infinite.

        Examples
        --------
        >>> round(RequestCounts(within={0.1: 50, 0.2: 100, math.inf: 100}).quantile(0.75), 3)
        0.15
        """
        edges = sorted(self.within.items())
        rank = probability * edges[-1][1] if edges else 0.0
        if not rank:
            return None
        lower, below = 0.0, 0
        for edge, count in edges:
            if count >= rank:
                return edge if math.isinf(edge) else lower + (edge - lower) * (rank - below) / (count - below)
            lower, below = edge, count
        return math.inf
