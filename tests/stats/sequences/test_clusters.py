"""Observations that depend on each other within what was randomized: requests with many rows, and users."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from airflow_provider_mlops.stats.sequences.clusters import (
    CLUSTERS,
    ClusteredEstimate,
    ClusterSums,
    clustered_difference,
    clustered_mean,
    estimated_units,
    information_radius,
    variance_to_detect,
)
from benchmarks.rollouts.clustered_rollouts import (
    MEASURES,
    Traffic,
    detectable_effect,
    looks_of,
    monitored,
    radius_by_observation,
)

STREAMS = 100
MOST_WRONG = int(stats.binom.ppf(0.999, STREAMS, 0.05))
TRAFFIC = {"rows": Traffic("rows", None, rows=10), "users": Traffic("users", 300)}


def sums_of(values: np.ndarray, clusters: np.ndarray) -> ClusterSums:
    counts = np.bincount(clusters, minlength=50).astype(float)
    return ClusterSums(counts[None], np.bincount(clusters, weights=values, minlength=50)[None])


def test_the_variance_is_that_of_a_regression_with_clustered_errors() -> None:
    """Oracle: statsmodels, with the correction for the number of clusters taken out."""
    generator = np.random.default_rng(1)
    clusters, arm = generator.integers(0, 50, 2000), generator.random(2000) < 0.3
    values = generator.normal(size=50)[clusters] + 0.2 * arm + generator.exponential(size=2000)
    design = sm.add_constant(arm.astype(float))
    fit = sm.OLS(values, design).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}, use_t=False
    )
    estimate = clustered_difference(sums_of(values[arm], clusters[arm]), sums_of(values[~arm], clusters[~arm]))
    assert float(estimate.value) == pytest.approx(float(fit.params[1]))
    # The same users in both arms vary the difference less than different ones would, which the pooled variance ignores.
    assert float(estimate.variance) >= fit.bse[1] ** 2 * 50 / 49 * (1 - 1e-9)
    own = clustered_mean(sums_of(values[arm], clusters[arm]))
    alone = sm.OLS(values[arm], np.ones(int(arm.sum()))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters[arm], "use_correction": False}
    )
    assert float(own.variance) == pytest.approx(alone.bse[0] ** 2 * 50 / 49)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("traffic", TRAFFIC)
def test_equal_versions_differ_at_most_as_often_as_stated(traffic: str, measure: str) -> None:
    looks = np.unique(np.geomspace(500, 20_000, 20).astype(int)) * TRAFFIC[traffic].rows
    detectable = detectable_effect(TRAFFIC[traffic], measure)
    outside, _ = monitored(TRAFFIC[traffic], measure, STREAMS, looks, detectable=detectable, seed=1)
    assert outside.any(axis=1).sum() <= MOST_WRONG


@pytest.mark.parametrize("traffic", TRAFFIC)
def test_observations_that_are_taken_for_independent_show_differences_that_are_not_there(traffic: str) -> None:
    """So the test above can fail."""
    looks = np.unique(np.geomspace(500, 20_000, 20).astype(int)) * TRAFFIC[traffic].rows
    outside, _ = monitored(
        TRAFFIC[traffic], "binary", STREAMS, looks, detectable=0.05, seed=1, radius=radius_by_observation
    )
    assert outside.any(axis=1).mean() > 0.3


def test_users_who_move_to_the_candidate_are_counted_once() -> None:
    """Their sums in both arms are in the same cluster, so the estimated variance is the true one."""
    traffic = Traffic("steps", 500, steps=(0.2, 0.6))
    generator, looks = np.random.default_rng(3), np.array([2000, 4000])
    for last in looks_of(traffic, "binary", 600, looks, 0.0, generator):
        estimate = clustered_difference(*last, is_rate=True)
    assert float(estimate.variance.mean()) == pytest.approx(float(estimate.value.var()), rel=0.25)


def test_nothing_is_certain_without_spread() -> None:
    zeros = ClusterSums.of([dict.fromkeys(range(500), (1.0, 0.0))])
    assert np.isinf(information_radius(clustered_difference(zeros, zeros), expected_variance=1.0))
    assert np.isinf(information_radius(clustered_mean(zeros), expected_variance=1.0))
    # No failures of 500 users do not exclude a rate of 0.2 %.
    rate = clustered_difference(zeros, zeros, is_rate=True)
    assert 0.002 < float(information_radius(rate, expected_variance=variance_to_detect(0.01))) < 0.02
    # An arm without spread gets that of the other one.
    generator = np.random.default_rng(4)
    sold = ClusterSums.of([{place: (1.0, generator.random()) for place in range(500)}])
    one = clustered_difference(zeros, sold)
    both = clustered_difference(sold, sold)
    assert float(one.variance) > 0.5 * float(both.variance)


def test_few_clusters_are_not_enough() -> None:
    generator = np.random.default_rng(5)
    few = ClusterSums.of([{place: (5.0, generator.random()) for place in range(20)}])
    assert not clustered_difference(few, few).is_known
    assert not clustered_mean(few).is_known


def test_more_requests_of_the_same_users_do_not_narrow_the_interval_for_ever() -> None:
    generator = np.random.default_rng(6)
    users = generator.normal(size=(2, 1, 300))
    radii = []
    for requests in (10.0, 1000.0, 100_000.0):
        counts = np.full((1, 300), requests)
        arms = [ClusterSums(counts, requests * arm) for arm in users]
        radii.append(float(information_radius(clustered_difference(*arms), expected_variance=0.01)))
    assert radii == pytest.approx([radii[0]] * 3)


def test_units_are_counted_by_the_clusters_that_they_occupy() -> None:
    generator = np.random.default_rng(7)
    for units in (100, 1000, 3000):
        occupied = np.unique(generator.integers(0, CLUSTERS, units)).size
        assert float(estimated_units(occupied)) == pytest.approx(units, rel=0.1)


def test_large_values_keep_their_variance() -> None:
    generator = np.random.default_rng(8)
    noise = generator.normal(size=(1, 1000))
    near, far = (clustered_mean(ClusterSums(np.ones((1, 1000)), noise + level)) for level in (0.0, 1e9))
    assert float(far.variance) == pytest.approx(float(near.variance), rel=1e-5)


def test_the_radius_is_that_of_the_normal_mixture() -> None:
    many = ClusteredEstimate(np.array(0.0), np.array(0.04), np.array(1e9), np.array(1e9))
    detectable = ClusteredEstimate(np.array(0.0), np.array(variance_to_detect(0.1)), np.array(1e9), np.array(1e9))
    tuned = variance_to_detect(0.1)
    assert float(information_radius(detectable, expected_variance=tuned)) == pytest.approx(0.1, rel=1e-6)
    assert float(information_radius(many, expected_variance=0.04)) > 2.8 * 0.2
