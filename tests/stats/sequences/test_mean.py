"""Asymptotic confidence sequences of means: by integration, and over streams looked at after every value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from airflow_provider_mlops.stats.sequences.mean import (
    Moments,
    difference_radius,
    mean_difference_sequence,
    mean_sequence,
    unit_radius,
)
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40)


@given(VALUES, VALUES)
def test_moments_of_parts_add_up(first: list[float], second: list[float]) -> None:
    both, whole = Moments.of(first) + Moments.of(second), Moments.of(first + second)
    assert both.count == whole.count
    assert both.mean == pytest.approx(np.mean(first + second), abs=1e-6)
    assert both.variance == pytest.approx(np.var(first + second, ddof=1), rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("n", [20, 300, 5000])
def test_the_radius_is_where_a_normal_mixture_reaches_the_limit(n: int) -> None:
    """Oracle: the likelihood ratio of a normal mean, integrated over a normal mixture, solved for the limit."""
    weight = prior_observations(1000, 0.05)

    def evidence(distance: float) -> float:
        # As a density of the mean: the alternative at distance d from the null, for observations of variance one.
        mean = stats.norm(0, 1 / math.sqrt(n))
        mixing = stats.norm(0, 1 / math.sqrt(weight))
        near = [distance - 8 / math.sqrt(n), distance + 8 / math.sqrt(n)]
        total, _ = integrate.quad(lambda d: mean.pdf(distance - d) * mixing.pdf(d), *near, limit=200)
        return math.log(total / mean.pdf(distance)) - math.log(20)

    assert unit_radius(n) == pytest.approx(optimize.brentq(evidence, 1e-3, 8 / math.sqrt(n)), rel=1e-4)


def test_the_joint_radius_is_the_edge_of_the_product_of_two_mixtures() -> None:
    """Oracle: constrained optimization over both means."""
    n, s2, weight = np.array([400.0, 2500.0]), np.array([2.0, 0.5]), prior_observations(700, 0.05)

    def log_product(means: np.ndarray) -> float:
        ratio = n**2 * means**2 / (2 * s2 * (n + weight)) - np.log1p(n / weight) / 2
        return math.log(20) - float(ratio.sum())

    minimum = optimize.minimize(
        lambda means: means[0] - means[1], [-0.01, 0.01], constraints={"type": "ineq", "fun": log_product}
    )
    assert difference_radius(n, s2, expected_n=700) == pytest.approx(-minimum.fun, rel=1e-4)


@pytest.mark.parametrize("expected_n", [100, 1000, 50_000])
def test_the_tuning_is_the_least_radius(expected_n: float) -> None:
    radii = {tuned: float(unit_radius(expected_n, expected_n=tuned)) for tuned in expected_n * np.geomspace(0.2, 5, 41)}
    assert min(radii, key=radii.__getitem__) == pytest.approx(expected_n, rel=0.05)


DISTRIBUTIONS = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "exponential": lambda generator, shape: generator.exponential(1.0, shape) - 1,
    "rare": lambda generator, shape: (generator.random(shape) < 0.1) - 0.1,
    "log-normal": lambda generator, shape: generator.lognormal(0, 1, shape) - np.exp(0.5),
}


@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
def test_two_thousand_streams_looked_at_after_every_value(name: str) -> None:
    values = DISTRIBUTIONS[name](np.random.default_rng(1), (2000, 3000)).astype(float)
    n = np.arange(1, 3001)
    mean = np.cumsum(values, axis=1) / n
    variance = np.maximum(np.cumsum(values**2, axis=1) - n * mean**2, 0) / np.maximum(n - 1, 1)
    outside = np.abs(mean) > np.sqrt(variance) * unit_radius(n)
    assert np.mean(np.any(outside[:, 499:], axis=1)) < 0.05
    # As the public function decides it.
    for stream in range(3):
        moments = Moments(2000, float(values[stream, :2000].sum()), float((values[stream, :2000] ** 2).sum()))
        low, high = mean_sequence(moments)
        assert (low > 0 or high < 0) == outside[stream, 1999]


@pytest.mark.parametrize("rule", ["winner", "steps"])
def test_two_thousand_streams_with_an_allocation_that_depends_on_the_past(rule: str) -> None:
    generator, streams = np.random.default_rng(2), 2000
    count, total, squares = (np.zeros((streams, 2)) for _ in range(3))
    missed, everyone = np.zeros(streams, dtype=bool), np.arange(streams)
    for look in range(2400):
        if rule == "winner":
            best = np.argmax(total / np.maximum(count, 1), axis=1)
            arm = np.where(generator.random(streams) < 0.8, best, 1 - best)
        else:
            arm = (generator.random(streams) < (0.1 if look < 1200 else 0.5)).astype(int)
        value = generator.exponential(1.0, streams)
        count[everyone, arm] += 1
        total[everyone, arm] += value
        squares[everyone, arm] += value**2
        if look % 2 == 0:
            mean = total / np.maximum(count, 1)
            variance = (squares - count * mean**2) / np.maximum(count - 1, 1)
            radius = difference_radius(np.maximum(count, 1), variance, expected_n=500)
            missed |= (np.abs(mean[:, 1] - mean[:, 0]) > radius) & (count.min(axis=1) >= 200)
    assert missed.mean() < 0.05


def test_before_the_first_look_nothing_is_said() -> None:
    values = Moments.of(np.arange(99.0))
    assert mean_sequence(values, first_look=100) == (-math.inf, math.inf)
    assert mean_difference_sequence(values, values, first_look=100) == (-math.inf, math.inf)
    assert mean_sequence(values, first_look=99).high < 100


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: Moments.of([1.0, math.nan]),
        lambda: mean_sequence(Moments(), first_look=1),
        lambda: mean_difference_sequence(Moments(), Moments(), first_look=0),
        lambda: unit_radius(10, confidence=1.5),
        lambda: difference_radius([10, 10], [1, 1], expected_n=-1),
    ):
        with pytest.raises(ValueError, match=r"finite|first_look|confidence|expected_n"):
            refused()


def test_large_values_keep_their_variance() -> None:
    """Sums of squares would lose all digits of 1e9 plus or minus 1; merged in parts, as replicas do."""
    values = 1e9 + np.tile([-1.0, 1.0], 5000)
    whole = Moments.of(values)
    parts = [Moments.of(part) for part in np.split(values, 100)]
    merged = sum(parts[1:], start=parts[0])
    for moments in (whole, merged):
        assert moments.variance == pytest.approx(float(np.var(values - 1e9, ddof=1)), rel=1e-9)
