"""Confidence sequences of bounded means: the mixture by integration, and over streams looked at all the time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from airflow_provider_mlops.stats.sequences.bounded_mean import (
    BoundedMoments,
    bounded_mean_sequence,
    gamma_mixture_bound,
    log_gamma_mixture,
)
from airflow_provider_mlops.stats.sequences.mean import Moments
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations


@pytest.mark.parametrize(
    ("deviation_sum", "variation", "weight"), [(3.0, 2.0, 1.5), (20.0, 30.0, 6.0), (-5.0, 9.0, 3.0)]
)
def test_the_mixture_is_the_integral_it_stands_for(deviation_sum: float, variation: float, weight: float) -> None:
    """Oracle: numerical integration of exp(l s - psi(l) v) over a gamma density in 1 - l, cut off at one."""
    cut = stats.gamma(weight, scale=1 / weight)

    def integrand(rest: float) -> float:
        psi = -np.log(rest) - (1 - rest)
        return float(np.exp((1 - rest) * deviation_sum - psi * variation) * cut.pdf(rest) / cut.cdf(1))

    expected, _ = integrate.quad(integrand, 0, 1)
    assert np.exp(log_gamma_mixture(deviation_sum, variation, weight)) == pytest.approx(expected, rel=1e-8)


@given(st.floats(0.0, 1e5), st.floats(0.5, 500.0), st.floats(0.001, 0.2))
def test_the_bound_is_where_the_mixture_reaches_the_limit(variation: float, weight: float, error: float) -> None:
    bound = gamma_mixture_bound(variation, weight, error)
    assert log_gamma_mixture(bound, variation, weight) == pytest.approx(-np.log(error), abs=1e-5)


@given(st.lists(st.floats(-2, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_values_may_come_at_once_or_one_after_another(values: list[float], cut: int) -> None:
    whole = BoundedMoments().updated(values, low=-2, high=3)
    parts = BoundedMoments().updated(values[:cut], low=-2, high=3).updated(values[cut:], low=-2, high=3)
    assert (parts.count, parts.total) == (whole.count, pytest.approx(whole.total))
    assert parts.variation == pytest.approx(whole.variation)
    # One value at a time, as the theorem has it.
    mean, count, variation = 0.5, 1, 0.0
    for value in values:
        variation += (value - mean) ** 2
        mean, count = (mean * count + value) / (count + 1), count + 1
    assert whole.variation == pytest.approx(variation)


@pytest.mark.parametrize(("a", "b"), [(0.2, 1.8), (30.0, 30.0), (1.0, 1.0)])
@pytest.mark.parametrize("how", ["running", "declared", "replicas"])
def test_two_thousand_streams_looked_at_after_every_value(a: float, b: float, how: str) -> None:
    generator, looks = np.random.default_rng(1), 1000
    values, true = generator.beta(a, b, (2000, looks)), a / (a + b)
    if how == "declared":
        predicted = np.full_like(values, 0.4)
    else:
        # Three replicas share the stream, each of which predicts by its own past.
        replica = np.zeros(looks, dtype=int) if how == "running" else generator.integers(0, 3, looks)
        predicted = np.empty_like(values)
        for one in range(3):
            mine = replica == one
            sums = np.cumsum(values[:, mine], axis=1) - values[:, mine]
            predicted[:, mine] = (sums + 0.5) / np.arange(1, mine.sum() + 1)
    variation = np.cumsum((values - predicted) ** 2, axis=1)
    weight = prior_observations(500 / 16, 0.05)
    deviation_sum = np.cumsum(values - true, axis=1)
    evidence = np.maximum(
        log_gamma_mixture(deviation_sum, variation, weight), log_gamma_mixture(-deviation_sum, variation, weight)
    )
    missed = np.any(evidence >= -np.log(0.025), axis=1)
    assert missed.mean() < 0.05
    # The function for one stream decides alike.
    for stream in np.argsort(evidence[:, -1])[[0, 1000, -2, -1]]:
        moments = BoundedMoments(looks, float(values[stream].sum()), float(variation[stream, -1]))
        low, high = bounded_mean_sequence(moments, low=0, high=1, expected_n=500)
        assert (low <= true <= high) == (evidence[stream, -1] < -np.log(0.025))


@given(st.lists(st.floats(0, 1), min_size=5, max_size=50))
def test_scales_with_the_range(values: list[float]) -> None:
    scaled = [7 * value - 3 for value in values]
    low, high = bounded_mean_sequence(BoundedMoments().updated(values, low=0, high=1), low=0, high=1)
    interval = bounded_mean_sequence(BoundedMoments().updated(np.clip(scaled, -3, 4), low=-3, high=4), low=-3, high=4)
    assert interval == pytest.approx((7 * low - 3, 7 * high - 3), abs=1e-6)


def test_declared_predictions_need_only_sums_and_are_as_narrow_near_the_mean() -> None:
    values = np.random.default_rng(2).beta(20, 60, 5000)
    running = BoundedMoments().updated(values, low=0, high=1)
    declared = BoundedMoments.around(0.25, Moments.of(values))
    assert declared.variation == pytest.approx(float(((values - 0.25) ** 2).sum()))
    widths = [np.ptp(bounded_mean_sequence(moments, low=0, high=1)) for moments in (running, declared)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)
    assert np.ptp(bounded_mean_sequence(BoundedMoments.around(0.9, Moments.of(values)), low=0, high=1)) > 2 * widths[0]


def test_adapts_to_a_small_variance() -> None:
    noisy, calm = (BoundedMoments(5000, 2500.0, 5000 * variance) for variance in (0.25, 0.0025))
    width = {moments: np.ptp(bounded_mean_sequence(moments, low=0, high=1)) for moments in (noisy, calm)}
    assert width[calm] < width[noisy] / 5


@pytest.mark.parametrize("variation", [62.5, 3000.0])
def test_is_about_as_tight_as_it_can_be_where_it_is_tuned(variation: float) -> None:
    """Oracle: the bounds of all weights."""
    least = min(gamma_mixture_bound(variation, weight, 0.025) for weight in np.geomspace(variation / 50, variation, 60))
    assert least <= gamma_mixture_bound(variation, prior_observations(variation, 0.05), 0.025) < 1.005 * least


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: BoundedMoments().updated([1.2], low=0, high=1),
        lambda: BoundedMoments().updated([float("nan")], low=0, high=1),
        lambda: bounded_mean_sequence(BoundedMoments(), low=1, high=1),
        lambda: bounded_mean_sequence(BoundedMoments(), low=0, high=1, confidence=0),
        lambda: bounded_mean_sequence(BoundedMoments(1, 0.5), low=0, high=1, expected_std=0),
    ):
        with pytest.raises(ValueError, match=r"values|low|confidence|expected_std"):
            refused()
    assert bounded_mean_sequence(BoundedMoments(), low=-1, high=2) == (-1, 2)
