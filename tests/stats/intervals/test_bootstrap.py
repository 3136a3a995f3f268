"""Bootstrap resamples and their intervals against SciPy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.intervals.bca import acceleration, bca_interval, percentile_interval
from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics, Scorer, resample

SKEWED = np.random.default_rng(0).lognormal(size=120)


def mean_of(values: np.ndarray) -> Scorer:
    return lambda counts: {"mean": counts @ values / counts.sum(axis=1)}


def of(scorer: Scorer) -> Callable[[np.ndarray | None], list[Scorer]]:
    """One model of few rows, which are resampled all at once."""
    return lambda chosen: [scorer]


def test_agrees_with_scipy() -> None:
    """Oracle: `scipy.stats.bootstrap`, with so many resamples that both have nearly converged."""
    (metrics,) = resample(of(mean_of(SKEWED)), 120, resamples=20_000, seed=2)
    drawn = metrics.resamples["mean"]
    for scipys, interval in (
        ("percentile", percentile_interval(metrics.estimates["mean"], drawn, 0.95)),
        ("BCa", metrics.interval("mean", 0.95)),
    ):
        expected = stats.bootstrap(
            (SKEWED,), np.mean, n_resamples=20_000, method=scipys, random_state=np.random.default_rng(1)
        ).confidence_interval
        assert interval == pytest.approx((expected.low, expected.high), abs=0.02)
    assert metrics.estimates["mean"] == pytest.approx(SKEWED.mean())
    assert drawn.std(ddof=1) == pytest.approx(stats.sem(SKEWED), rel=0.03)


def test_bca_corrects_a_skewed_metric_as_scipy_does() -> None:
    """The variance of few values: percentile and BCa differ by far more than the noise of the resamples."""
    values = np.random.default_rng(4).exponential(size=40)

    def variance(counts: np.ndarray) -> dict[str, np.ndarray]:
        total = counts.sum(axis=1)
        return {"variance": counts @ values**2 / total - (counts @ values / total) ** 2}

    expected = stats.bootstrap(
        (values,), np.var, n_resamples=20_000, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    (metrics,) = resample(of(variance), 40, resamples=6000, seed=3)
    low, high = metrics.interval("variance", 0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=0.06)
    plain = percentile_interval(metrics.estimates["variance"], metrics.resamples["variance"], 0.95)
    assert high - plain.high > 0.2


def test_all_metrics_and_models_see_the_same_resamples() -> None:
    def both(counts: np.ndarray) -> dict[str, np.ndarray]:
        mean = mean_of(SKEWED)(counts)["mean"]
        return {"mean": mean, "twice": 2 * mean}

    first, second = resample(lambda chosen: [both, mean_of(SKEWED + 1)], 120, resamples=200)
    np.testing.assert_allclose(first.resamples["twice"], 2 * first.resamples["mean"])
    np.testing.assert_allclose(second.resamples["mean"], first.resamples["mean"] + 1)
    assert first.intervals(0.9)["twice"] == pytest.approx([2 * end for end in first.intervals(0.9)["mean"]])


def test_same_seed_same_interval() -> None:
    first, second, third = (resample(of(mean_of(SKEWED)), 120, resamples=200, seed=seed)[0] for seed in (1, 1, 2))
    assert first.interval("mean", 0.95) == second.interval("mean", 0.95)
    assert first.interval("mean", 0.95) != third.interval("mean", 0.95)


def test_intervals_cover_at_about_their_level() -> None:
    """Of 300 samples of 40 exponential values; 90% intervals of the mean."""
    generator, covered = np.random.default_rng(12), 0
    for sample in range(300):
        values = generator.exponential(size=40)
        low, high = resample(of(mean_of(values)), 40, resamples=400, seed=sample)[0].interval("mean", 0.9)
        covered += low <= 1 <= high
    assert 0.83 * 300 <= covered <= 0.95 * 300


def test_resamples_without_the_metric_are_left_out() -> None:
    def share_of_first(counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {"share": counts[:, 0] / counts[:, :2].sum(axis=1), "never": np.full(len(counts), np.nan)}

    (metrics,) = resample(of(share_of_first), 10, resamples=400)
    assert list(metrics.estimates) == ["share"]
    assert np.isnan(metrics.resamples["share"]).sum() == pytest.approx(400 * 0.8**10, abs=25)
    low, high = metrics.interval("share", 0.9)
    assert 0 <= low < 0.5 < high <= 1


def test_a_constant_metric_has_an_interval_of_no_width() -> None:
    (metrics,) = resample(of(lambda counts: {"same": np.full(len(counts), 0.7)}), 50)
    assert metrics.interval("same", 0.95) == (0.7, 0.7)


def test_many_rows_are_drawn_from_subsets() -> None:
    values = np.random.default_rng(3).normal(size=300_000)
    asked: list[int] = []

    def scorers_of(chosen: np.ndarray | None) -> list[Scorer]:
        asked.append(len(values) if chosen is None else len(set(chosen.tolist())))
        return [mean_of(values if chosen is None else values[chosen])]

    (metrics,) = resample(scorers_of, len(values), resamples=400)
    assert asked == [300_000, *[6_824] * 20]
    assert metrics.resamples["mean"].shape == (400,)
    assert metrics.resamples["mean"].std() == pytest.approx(1 / np.sqrt(300_000), rel=0.15)
    assert metrics.resamples["mean"].mean() == pytest.approx(values.mean(), abs=5e-4)


@settings(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.integers(0, 100))
def test_percentile_intervals_of_a_mean_hold_it(values: list[float], seed: int) -> None:
    sample = np.array(values)
    (metrics,) = resample(of(mean_of(sample)), sample.size, seed=seed)
    low, high = percentile_interval(metrics.estimates["mean"], metrics.resamples["mean"], 0.95)
    assert low <= metrics.estimates["mean"] <= high
    assert sample.min() - 1e-9 <= low <= high <= sample.max() + 1e-9


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(-10, 10), st.floats(0.5, 0.99))
def test_an_interval_always_holds_the_estimate(drawn: list[float], estimate: float, confidence: float) -> None:
    resamples = np.array([*drawn, np.nan])
    for low, high in (
        bca_interval(estimate, resamples, resamples, len(resamples), confidence),
        percentile_interval(estimate, resamples, confidence),
    ):
        assert low <= estimate <= high


def test_the_acceleration_is_the_skewness_of_the_influence() -> None:
    """For a mean it is the sample's skewness over 6 sqrt(n): Efron (1987), section 7."""
    without = (SKEWED.sum() - SKEWED) / (SKEWED.size - 1)
    assert acceleration(without, SKEWED.size) == pytest.approx(stats.skew(SKEWED) / 6 / np.sqrt(SKEWED.size))
    assert acceleration(np.full(50, 3.0), 50) == 0


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="rows must be at least 1"):
        resample(of(mean_of(SKEWED)), 0)
    with pytest.raises(ValueError, match="resamples"):
        resample(of(mean_of(SKEWED)), 120, resamples=1)
    with pytest.raises(ValueError, match="confidence"):
        ResampledMetrics(2, {"a": 1.0}, {"a": np.ones(2)}, {"a": np.ones(2)}).interval("a", 1.0)
