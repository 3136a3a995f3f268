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
    assert 0.0074 < float(information_radius(rate, expected_variance=variance_to_detect(0.01))) < 0.02
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


def arm_of(values: np.ndarray, clusters: np.ndarray, weights: np.ndarray | None = None) -> ClusterSums:
    one = np.ones_like(values) if weights is None else weights
    return ClusterSums(
        np.bincount(clusters, weights=one, minlength=CLUSTERS)[None],
        np.bincount(clusters, weights=one * values, minlength=CLUSTERS)[None],
    )


HOSTILE = {
    "normal": lambda generator, size: generator.normal(size=size),
    "revenue, 90 % zeros": lambda generator, size: generator.lognormal(0, 1, size) * (generator.random(size) < 0.1),
    "heavy tails": lambda generator, size: generator.standard_t(3, size),
    "rare events": lambda generator, size: (generator.random(size) < 0.001).astype(float),
    "1e9 and a little": lambda generator, size: 1e9 + generator.normal(size=size),
    "tiny": lambda generator, size: 1e-12 * generator.exponential(size=size),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_estimate_is_that_of_a_weighted_regression_whatever_the_values(name: str) -> None:
    """Oracle: statsmodels' weighted least squares with clustered errors; weights of 0 count nothing."""
    generator = np.random.default_rng(11)
    values = HOSTILE[name](generator, 4000)
    clusters, weights = generator.integers(0, CLUSTERS, 4000), generator.choice([0.0, 1.0, 10.0], 4000)
    estimate = clustered_mean(arm_of(values, clusters, weights))
    used = weights > 0
    fit = sm.WLS(values[used] - values.mean(), np.ones(used.sum()), weights=weights[used]).fit(
        cov_type="cluster", cov_kwds={"groups": clusters[used], "use_correction": False}
    )
    count = np.unique(clusters[used]).size
    assert float(estimate.clusters) == count
    assert float(estimate.value - values.mean()) == pytest.approx(float(fit.params[0]), rel=1e-4, abs=1e-6)
    assert float(estimate.variance) == pytest.approx(fit.bse[0] ** 2 * count / (count - 1), rel=1e-4)


@pytest.mark.parametrize("name", HOSTILE)
def test_replicas_add_in_any_order(name: str) -> None:
    generator = np.random.default_rng(12)
    arms = []
    for _ in range(2):
        parts = [arm_of(HOSTILE[name](generator, 500), generator.integers(0, CLUSTERS, 500)) for _ in range(4)]
        arms.append((parts[0] + parts[1] + (parts[2] + parts[3]), parts[3] + parts[1] + parts[0] + parts[2]))
    one, other = (clustered_difference(arms[0][order], arms[1][order]) for order in (0, 1))
    assert float(one.value) == pytest.approx(float(other.value), rel=1e-6, abs=1e-6)
    assert float(one.variance) == pytest.approx(float(other.variance), rel=1e-5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_all_right_or_all_wrong_is_certain_up_to_the_rule_of_three(rate: float) -> None:
    """Oracle: the exact bound of Clopper and Pearson for a single look, which a sequence must not be narrower than."""
    users = 500
    sums = ClusterSums.of([dict.fromkeys(range(users), (4.0, 4.0 * rate))], clusters=4096)
    estimate = clustered_mean(sums, is_rate=True)
    half = float(information_radius(estimate, expected_variance=variance_to_detect(0.02)))
    exact = float(stats.beta.ppf(0.975, 1, users))
    assert exact < half < 3 * exact
    both = clustered_difference(sums, sums, is_rate=True)
    assert float(information_radius(both, expected_variance=variance_to_detect(0.02))) > half


def test_one_cluster_or_clusters_of_one_arm_only_say_nothing() -> None:
    one = ClusterSums.of([{7: (1000.0, 300.0)}])
    many = ClusterSums.of([dict.fromkeys(range(500), (2.0, 1.0))])
    nothing = ClusterSums.of([])
    for candidate, champion in ((one, one), (one, many), (many, one), (many, nothing), (nothing, nothing)):
        for is_rate in (True, False):
            estimate = clustered_difference(candidate, champion, is_rate=is_rate)
            assert np.isinf(information_radius(estimate, expected_variance=0.01))


def test_a_stratum_with_one_arm_only_changes_nothing() -> None:
    generator = np.random.default_rng(13)
    shared = [{place: (2.0, generator.random()) for place in range(300)} for _ in range(2)]
    alone = dict.fromkeys(range(300), (50.0, 50.0))
    for is_rate in (True, False):
        before = clustered_difference(*(ClusterSums.of([part]) for part in shared), is_rate=is_rate)
        after = clustered_difference(
            ClusterSums.of([shared[0], alone]), ClusterSums.of([shared[1], {}]), is_rate=is_rate
        )
        assert float(after.value) == pytest.approx(float(before.value))
        assert float(after.variance) == pytest.approx(float(before.variance))


def test_values_that_are_not_numbers_are_never_certain() -> None:
    bad = ClusterSums.of([{place: (1.0, np.nan if place == 3 else float(place % 2)) for place in range(500)}])
    good = ClusterSums.of([{place: (1.0, float(place % 2)) for place in range(500)}])
    for estimate in (
        clustered_mean(bad),
        clustered_difference(bad, good),
        clustered_difference(good, bad, is_rate=True),
    ):
        assert not estimate.is_known
        assert np.isinf(information_radius(estimate, expected_variance=0.01))


@pytest.mark.parametrize(("kind", "share"), [("revenue", 0.5), ("revenue", 0.1), ("rate", 0.1), ("exponential", 0.9)])
def test_unequal_arms_with_skewed_values_are_covered_from_the_first_clusters_on(kind: str, share: float) -> None:
    """The candidate's values are half as large again, so that no symmetry of equal versions helps."""
    generator, streams, missed = np.random.default_rng(14), 200, np.zeros(200, dtype=bool)
    sums, mean = np.zeros((2, 2, streams, 1, CLUSTERS)), {"revenue": 0.1 * np.exp(0.5), "rate": 0.1, "exponential": 1.0}
    for more in np.diff(np.unique(np.geomspace(60, 4000, 15).astype(int)), prepend=0):
        shape = (streams, more)
        draw = {
            "revenue": lambda shape=shape: generator.lognormal(0, 1, shape) * (generator.random(shape) < 0.1),
            "rate": lambda shape=shape: (generator.random(shape) < 0.1).astype(float),
            "exponential": lambda shape=shape: generator.exponential(size=shape),
        }[kind]
        chosen = generator.random(shape) < share
        values = draw() * np.where(chosen, 1.5, 1.0)
        flat = np.arange(streams)[:, None] * CLUSTERS + generator.integers(0, CLUSTERS, shape)
        for arm, mask in enumerate((~chosen, chosen)):
            for part, each in enumerate((np.ones(shape), values)):
                new = np.bincount(flat.ravel(), weights=(each * mask).ravel(), minlength=streams * CLUSTERS)
                sums[arm, part, :, 0] += new.reshape(streams, CLUSTERS)
        estimate = clustered_difference(ClusterSums(*sums[1]), ClusterSums(*sums[0]))
        half = information_radius(estimate, expected_variance=variance_to_detect(mean[kind] / 2))
        missed |= np.abs(estimate.value - mean[kind] / 2) > half
    assert missed.sum() <= int(stats.binom.ppf(0.999, streams, 0.05))


def test_more_users_count_as_much_as_those_that_failed_until_now() -> None:
    """Users with 50 requests each: single failures of many users do not make a whole user who fails likely."""
    rare = ClusterSums.of([{place: (50.0, float(place < 40)) for place in range(200)}])
    none = ClusterSums.of([dict.fromkeys(range(200), (50.0, 0.0))])
    whole = ClusterSums.of([{place: (50.0, 50.0 * (place < 40)) for place in range(200)}])
    added = [
        float(clustered_mean(sums, is_rate=True).variance - clustered_mean(sums).variance) * 200**2
        for sums in (none, rare, whole)
    ]
    assert added[0] == pytest.approx(added[2], rel=0.4)
    assert added[1] < 0.05 * added[0]
