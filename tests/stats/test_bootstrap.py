"""Bootstrap intervals against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.bootstrap import bootstrap, bootstrap_weighted
from airflow_provider_mlops.stats.resampling import counts_of_rows, draw_indices, strata_rows

SKEWED = np.random.default_rng(0).lognormal(size=120)


def weighted_mean(weights: np.ndarray) -> np.ndarray:
    return weights @ SKEWED / weights.sum(axis=1)


@pytest.mark.parametrize(("method", "scipys"), [("percentile", "percentile"), ("bca", "BCa")])
def test_agrees_with_scipy(method: str, scipys: str) -> None:
    """Oracle: `scipy.stats.bootstrap`, with so many resamples that both have nearly converged."""
    expected = stats.bootstrap(
        (SKEWED,), np.mean, n_resamples=20_000, method=scipys, random_state=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap_weighted(weighted_mean, 120, resamples=20_000, method=method, seed=2)  # type: ignore[arg-type]
    assert found.method == method
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found.estimate == pytest.approx(SKEWED.mean())
    assert found.standard_error == pytest.approx(stats.sem(SKEWED), rel=0.03)


def test_bca_corrects_a_skewed_metric_as_scipy_does() -> None:
    """The variance of few values: percentile and BCa differ by far more than the noise of the resamples."""
    values = np.random.default_rng(4).exponential(size=40)
    expected = stats.bootstrap(
        (values,), np.var, n_resamples=20_000, method="BCa", random_state=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap(lambda rows: float(values[rows].var()), 40, resamples=6000, seed=3)
    plain = bootstrap(lambda rows: float(values[rows].var()), 40, resamples=6000, seed=3, method="percentile")
    assert found.interval == pytest.approx((expected.low, expected.high), rel=0.06)
    assert found.high - plain.high > 0.2


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("strata", [None, np.arange(120) % 3])
def test_weights_and_row_numbers_give_the_same_interval(method: str, strata: np.ndarray | None) -> None:
    by_weight = bootstrap_weighted(weighted_mean, 120, strata=strata, resamples=200, method=method, seed=9)  # type: ignore[arg-type]
    by_row = bootstrap(lambda rows: SKEWED[rows].mean(), 120, strata=strata, resamples=200, method=method, seed=9)  # type: ignore[arg-type]
    assert by_weight.interval == pytest.approx(by_row.interval, rel=1e-9)
    np.testing.assert_allclose(by_weight.resamples, by_row.resamples)


def test_same_seed_same_interval() -> None:
    first, second, third = (bootstrap_weighted(weighted_mean, 120, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first.interval == second.interval
    assert first.interval != third.interval


def test_strata_keep_their_rows_and_narrow_the_interval() -> None:
    strata = np.repeat(["low", "high"], 60)
    values = np.where(strata == "low", 0.0, 10.0) + np.random.default_rng(5).normal(size=120)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(axis=1)

    plain = bootstrap_weighted(mean, 120, seed=1)
    stratified = bootstrap_weighted(mean, 120, strata=strata, seed=1)
    assert stratified.standard_error == pytest.approx(
        np.sqrt(values[:60].var() / 240 + values[60:].var() / 240), rel=0.1
    )
    assert stratified.standard_error < plain.standard_error / 3
    for indices in draw_indices(strata_rows(120, strata), 20, np.random.default_rng(0)):
        assert np.all(np.sum(strata[indices] == "low", axis=1) == 60)


def test_intervals_cover_at_about_their_level() -> None:
    """Of 300 samples of 40 exponential values; 90 % intervals of the mean."""
    generator, covered = np.random.default_rng(12), 0
    for sample in range(300):
        values = generator.exponential(size=40)
        found = bootstrap_weighted(
            lambda weights, values=values: weights @ values / weights.sum(axis=1),  # type: ignore[misc]
            40,
            confidence=0.9,
            resamples=400,
            seed=sample,
        )
        covered += found.low <= 1 <= found.high
    assert 0.83 * 300 <= covered <= 0.95 * 300


def test_resamples_without_the_metric_are_left_out_and_counted() -> None:
    labels = np.array([1] + [0] * 9)

    def share_of_first(rows: np.ndarray) -> float:
        return float(np.mean(rows[labels[rows] == 1] == 0)) if labels[rows].any() else float("nan")

    found = bootstrap(share_of_first, 10, resamples=400, method="percentile")
    assert found.undefined == 400 - found.resamples.size
    assert found.undefined == pytest.approx(400 * 0.9**10, abs=40)


def test_a_constant_metric_has_an_interval_of_no_width() -> None:
    found = bootstrap_weighted(lambda weights: np.full(len(weights), 0.7), 50)
    assert (found.low, found.estimate, found.high) == (0.7, 0.7, 0.7)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_large_samples_are_drawn_in_parts() -> None:
    values = np.random.default_rng(3).normal(size=300_000)
    found = bootstrap_weighted(lambda weights: weights @ values / weights.sum(axis=1), values.size, resamples=40)
    assert found.standard_error == pytest.approx(1 / np.sqrt(300_000), rel=0.4)


@settings(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.integers(0, 100))
def test_percentile_intervals_of_a_mean_hold_it(values: list[float], seed: int) -> None:
    sample = np.array(values)
    found = bootstrap_weighted(
        lambda weights: weights @ sample / weights.sum(axis=1), sample.size, method="percentile", seed=seed
    )
    assert found.low - 1e-9 <= found.estimate <= found.high + 1e-9
    assert sample.min() - 1e-9 <= found.low <= found.high <= sample.max() + 1e-9


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 99))
def test_counts_of_rows_add_up(rows: int, resamples: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(rows, size=(resamples, rows))
    counts = counts_of_rows(indices, rows)
    assert np.all(counts.sum(axis=1) == rows)
    assert all(counts[0, row] == np.sum(indices[0] == row) for row in range(rows))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"confidence": 1.0}, "confidence"),
        ({"resamples": 1}, "resamples"),
        ({"strata": [1, 2]}, "strata"),
        ({"rows": 0}, "no rows"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        bootstrap(lambda _: 0.0, **{"rows": 5, **arguments})  # type: ignore[arg-type]


def test_a_metric_that_is_not_defined_is_refused() -> None:
    with pytest.raises(ValueError, match="all rows is nan"):
        bootstrap(lambda _: float("nan"), 5)
    with pytest.raises(ValueError, match="not finite on"):
        bootstrap(lambda rows: 0.0 if len(set(rows.tolist())) == len(rows) else float("nan"), 5)
