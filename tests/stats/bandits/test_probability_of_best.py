"""The integral behind Thompson sampling: against SciPy's integrator, closed forms and draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from airflow_provider_mlops.stats.bandits.probability_of_best import (
    beta_probability_of_best,
    normal_probability_of_best,
    student_probability_of_best,
)

PARAMETER = st.floats(0.5, 5000.0)


@settings(max_examples=8)
@given(PARAMETER, PARAMETER, PARAMETER, PARAMETER)
def test_two_beta_distributions(a: float, b: float, c: float, d: float) -> None:
    """Oracle: `scipy.integrate.quad` of one density times the other's distribution function, by the quantile."""
    first, second = stats.beta(a, b), stats.beta(c, d)
    expected, error = integrate.quad(
        lambda level: first.cdf(second.ppf(special.ndtr(level))) * stats.norm.pdf(level), -8, 8, limit=100, epsabs=1e-8
    )
    assert beta_probability_of_best([a, c], [b, d])[1] == pytest.approx(expected, abs=max(1e-6, 10 * error))


def test_two_beta_distributions_of_whole_numbers_exactly() -> None:
    """Closed form: Evan Miller's sum over the first parameter, as a sum of beta functions."""
    a, b, c, d = 12, 40, 20, 45
    places = np.arange(c)
    exact = np.exp(
        special.betaln(a + places, b + d) - np.log(d + places) - special.betaln(1 + places, d) - special.betaln(a, b)
    ).sum()
    assert beta_probability_of_best([a, c], [b, d])[1] == pytest.approx(exact, abs=1e-9)


@settings(max_examples=50)
@given(st.floats(-5, 5), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_two_normal_distributions_have_a_closed_form(gap: float, first: float, second: float) -> None:
    expected = special.ndtr(gap / np.hypot(first, second))
    assert normal_probability_of_best([0.0, gap], [first, second])[1] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("arms", [3, 10])
def test_many_arms_against_draws(arms: int) -> None:
    """Chi-square test of what was drawn; the distributions differ in width by orders of magnitude."""
    generator = np.random.default_rng(1)
    a, b = generator.uniform(0.5, 300, arms), generator.uniform(0.5, 300, arms)
    a[0], b[0] = 0.5, 0.5
    mean, scale, freedom = generator.normal(size=arms), generator.uniform(0.01, 3, arms), generator.uniform(2, 30, arms)
    draws = 200_000
    for expected, values in (
        (beta_probability_of_best(a, b), generator.beta(a, b, (draws, arms))),
        (normal_probability_of_best(mean, scale), mean + scale * generator.standard_normal((draws, arms))),
        (
            student_probability_of_best(mean, scale, freedom),
            mean + scale * generator.standard_t(freedom, (draws, arms)),
        ),
    ):
        counts = np.bincount(np.argmax(values, axis=1), minlength=arms)
        assert expected.sum() == pytest.approx(1)
        likely = expected * draws > 5
        statistic = np.sum((counts[likely] - expected[likely] * draws) ** 2 / (expected[likely] * draws))
        assert stats.chi2.sf(statistic, likely.sum() - 1) > 0.001
        assert counts[~likely].sum() <= 50


@given(st.lists(st.tuples(PARAMETER, PARAMETER), min_size=2, max_size=10))
@settings(max_examples=20)
def test_arms_that_are_alike_share_and_order_does_not_matter(arms: list[tuple[float, float]]) -> None:
    a, b = np.array(arms).T
    probabilities = beta_probability_of_best(a, b)
    assert beta_probability_of_best(a[::-1], b[::-1])[::-1] == pytest.approx(probabilities, abs=1e-7)
    doubled = beta_probability_of_best(np.repeat(a, 2), np.repeat(b, 2))
    assert doubled[::2] == pytest.approx(doubled[1::2], abs=1e-7)


def test_millions_of_rewards_against_none() -> None:
    probabilities = beta_probability_of_best([1, 500_000], [1, 500_000])
    assert probabilities == pytest.approx([0.5, 0.5], abs=1e-3)
    assert beta_probability_of_best([1, 999_000], [1, 1_000]) == pytest.approx([0.001, 0.999], abs=1e-4)


@pytest.mark.parametrize(
    "best", [normal_probability_of_best, lambda means, scales: student_probability_of_best(means, scales, [9.0, 9.0])]
)
@pytest.mark.parametrize("scale", [1e-9, 1e-12, 1e-15])
def test_of_arms_without_any_width_it_is_the_greater_one(best: Callable[..., np.ndarray], scale: float) -> None:
    assert best([1e6, 1e6 + 1], [scale, scale]) == pytest.approx([0, 1])
    assert best([1e6, 1e6], [scale, scale]) == pytest.approx([0.5, 0.5])
