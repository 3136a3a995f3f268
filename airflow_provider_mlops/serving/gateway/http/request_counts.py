"""How many requests a model has had, and how fast it was: read from what `metrics` tells Prometheus."""

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
    """Requests for predictions since the gateway began, or between two readings.

    :ivar requests: all of them but the checks of a gateway.
    :ivar failed: those that were answered with a status of 500 and above.
    :ivar within: for each edge of the histogram, in seconds, how many predictions took at most so long.
    """

    requests: int = 0
    failed: int = 0
    within: Mapping[float, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, model: str, version: int | None = None) -> Self:
        """Of a model, or of one version of it."""
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
        """What came after an earlier reading; None if the gateway has begun anew in between."""
        within = {edge: count - earlier.within.get(edge, 0) for edge, count in self.within.items()}
        later = RequestCounts(self.requests - earlier.requests, self.failed - earlier.failed, within)
        return None if min(later.requests, later.failed, *within.values(), 0) < 0 else later

    @property
    def error_rate(self) -> float:
        """The share that failed; 0 where there were none."""
        return self.failed / self.requests if self.requests else 0.0

    def quantile(self, share: float) -> float | None:
        """The seconds that a share of the predictions did not exceed; None where there were none.

        Within a cell of the histogram they are taken to lie evenly; above its last edge, it is infinite.

        >>> round(RequestCounts(within={0.1: 50, 0.2: 100, math.inf: 100}).quantile(0.75), 3)
        0.15
        """
        edges = sorted(self.within.items())
        wanted = share * edges[-1][1] if edges else 0.0
        if not wanted:
            return None
        below, passed = 0.0, 0
        for edge, count in edges:
            if count >= wanted:
                return edge if math.isinf(edge) else below + (edge - below) * (wanted - passed) / (count - passed)
            below, passed = edge, count
        return math.inf
