"""The population stability index against its properties and its published null distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from airflow_provider_mlops.stats.drift.psi import (
    population_stability_index,
    psi_null_quantile,
    psi_test,
    unbiased_population_stability_index,
)

PAIRS = (
    st.integers(1, 25)
    .flatmap(
        lambda cells: st.tuples(
            hnp.arrays(np.int64, cells, elements=st.integers(0, 10_000)),
            hnp.arrays(np.int64, cells, elements=st.integers(0, 10_000)),
        )
    )
    .filter(lambda pair: bool(pair[0].sum() and pair[1].sum()))
)


@given(PAIRS)
def test_is_finite_not_negative_and_symmetric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    index = population_stability_index(*pair)
    assert np.isfinite(index)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(*pair[::-1]), abs=1e-12)


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_the_order_of_cells_does_not_matter(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(pair[0].size)
    index = population_stability_index(pair[0][order], pair[1][order])
    assert index == pytest.approx(population_stability_index(*pair), abs=1e-12)


@given(PAIRS, st.integers(1, 1000))
def test_proportional_counts_have_none(pair: tuple[np.ndarray, np.ndarray], factor: int) -> None:
    assert population_stability_index(pair[0], pair[0] * factor) == pytest.approx(0, abs=1e-12)


@given(PAIRS)
def test_empty_cells_change_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    wider = population_stability_index(np.append(pair[0], 0), np.append(pair[1], 0))
    assert wider == pytest.approx(population_stability_index(*pair), abs=1e-12)


@given(PAIRS)
def test_what_chance_adds_is_taken_off(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert 0 <= unbiased_population_stability_index(*pair) <= population_stability_index(*pair)


def test_is_the_sum_of_both_relative_entropies() -> None:
    """Jeffreys' divergence; the oracle is `scipy.stats.entropy`."""
    first, second = np.array([30, 50, 20, 100]), np.array([10, 70, 40, 25])
    expected = stats.entropy(first, second) + stats.entropy(second, first)
    assert population_stability_index(first, second) == pytest.approx(expected, rel=1e-12)


def test_of_a_shifted_normal_is_the_squared_shift() -> None:
    edges = np.linspace(-6, 6, 2001)
    first, second = (np.diff(stats.norm.cdf(edges, shift)) * 1e12 for shift in (0.0, 0.5))
    assert population_stability_index(first, second) == pytest.approx(0.25, abs=2e-3)


@pytest.mark.parametrize(("rows", "published"), [(50, 0.98), (100, 0.85), (200, 0.38), (500, 0.004)])
def test_the_null_distribution_predicts_how_often_a_fixed_level_alarms(rows: int, published: float) -> None:
    """How often PSI > 0.1 with ten bins and nothing drifted: simulated, by the null distribution, and as published.

    The figures are those in the documentation of this project; both samples have that many rows.
    """
    generator = np.random.default_rng(rows)
    shares = np.full(10, 0.1)
    pairs = generator.multinomial(rows, shares, size=(2000, 2))
    measured = np.mean([population_stability_index(*pair) > 0.1 for pair in pairs])
    assert measured == pytest.approx(stats.chi2.sf(0.1 / (2 / rows), 9), abs=0.05)
    assert measured == pytest.approx(published, abs=0.04)


def test_the_threshold_is_crossed_at_the_false_alarm_rate() -> None:
    generator = np.random.default_rng(5)
    shares = np.array([0.05, 0.1, 0.2, 0.3, 0.2, 0.1, 0.05])
    tests = [
        psi_test(generator.multinomial(800, shares), generator.multinomial(300, shares), false_alarm_rate=0.05)
        for _ in range(1500)
    ]
    alarms = sum(test.statistic > test.threshold for test in tests)
    assert alarms == sum(test.drifted for test in tests)
    assert stats.binom.ppf(0.0005, 1500, 0.05) <= alarms <= stats.binom.ppf(0.9995, 1500, 0.06)


def test_the_quantile_allows_for_the_noise_of_the_reference() -> None:
    assert psi_null_quantile(0.99, 10, 100, 100) == pytest.approx(2 * psi_null_quantile(0.99, 10, 10**12, 100))


def test_too_few_rows_for_two_cells_is_not_a_drift() -> None:
    test = psi_test([3, 4], [0, 5])
    assert (test.p_value, test.threshold, test.drifted) == (1.0, float("inf"), False)


@pytest.mark.parametrize("pair", [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_no_rows_are_refused(pair: tuple[list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match="both samples must have rows"):
        population_stability_index(*pair)


@pytest.mark.parametrize("values", [(1.5, 10, 5, 5), (0.9, 1, 5, 5), (0.9, 10, 0, 5)])
def test_a_quantile_of_nothing_is_refused(values: tuple[float, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"probability|cells"):
        psi_null_quantile(*values)
