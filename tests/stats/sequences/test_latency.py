"""Confidence sequences of latencies, from histograms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.stats.sequences.latency import count_slower_than, quantile_sequence
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence

EDGES = np.geomspace(1, 1000, 31)


def histogram(latencies: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(EDGES, latencies), minlength=EDGES.size + 1)


def test_counts_of_slow_requests_are_those_of_the_requests_themselves() -> None:
    latencies = np.random.default_rng(1).lognormal(3, 1, 5000)
    for limit in EDGES[[0, 10, 30]]:
        assert count_slower_than(EDGES, histogram(latencies), float(limit)) == (int(np.sum(latencies > limit)), 5000)


def test_a_latency_on_an_edge_is_not_slower() -> None:
    assert count_slower_than([10, 20], [0, 1, 0], 20) == (0, 1)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_two_thousand_streams_looked_at_after_every_request(quantile: float) -> None:
    """The quantile is missed where the count of requests up to it contradicts its rate, so that is what is counted."""
    generator = np.random.default_rng(2)
    latencies = generator.lognormal(3, 1, (2000, 2000))
    within = np.cumsum(latencies <= stats.lognorm.ppf(quantile, 1, scale=np.exp(3)), axis=1)
    evidence = log_evidence(within, np.arange(1, 2001), quantile, prior_observations(1000, 0.05))
    missed = np.any(evidence >= -np.log(0.05), axis=1)
    assert missed.mean() < 0.05


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_the_interval_of_edges_holds_the_quantile(quantile: float) -> None:
    generator, true = np.random.default_rng(3), stats.lognorm.ppf(quantile, 1, scale=np.exp(3))
    missed = 0
    for _ in range(100):
        latencies = generator.lognormal(3, 1, 3000)
        intervals = [quantile_sequence(EDGES, histogram(latencies[:look]), quantile) for look in (50, 200, 1000, 3000)]
        missed += not all(low <= true <= high for low, high in intervals)
        assert intervals[-1].high - intervals[-1].low < intervals[0].high - intervals[0].low
    assert missed <= 5


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: count_slower_than([10, 20], [1, 2, 3], 15),
        lambda: count_slower_than([10, 20], [1, 2, 3], 25),
        lambda: count_slower_than([10, 20], [1, 2], 10),
        lambda: count_slower_than([20, 10], [1, 2, 3], 10),
        lambda: count_slower_than([10, 20], [1, -2, 3], 10),
        lambda: quantile_sequence([10, 20], [1, 2, 3], 1.0),
    ):
        with pytest.raises(ValueError, match=r"edge|quantile"):
            refused()
    assert quantile_sequence([10, 20], [0, 0, 0], 0.5) == (0, np.inf)
