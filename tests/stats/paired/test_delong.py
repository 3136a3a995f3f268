"""DeLong's test against the definition, pair by pair, and against scikit-learn's areas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from airflow_provider_mlops.stats.paired.delong import auc_covariance, auc_interval, delong_test


def pair_by_pair(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations 3 to 5 of DeLong, DeLong and Clarke-Pearson (1988), every positive row with every negative one."""
    wins = []
    for model in scores:
        higher, lower = model[positive][:, None], model[~positive][None, :]
        wins.append((higher > lower) + 0.5 * (higher == lower))
    of_positives, of_negatives = np.array([w.mean(axis=1) for w in wins]), np.array([w.mean(axis=0) for w in wins])
    areas = np.array([w.mean() for w in wins])
    first, second = of_positives - areas[:, None], of_negatives - areas[:, None]
    m, n = of_positives.shape[1], of_negatives.shape[1]
    return areas, first @ first.T / (m - 1) / m + second @ second.T / (n - 1) / n


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 3), st.integers(2, 50), st.integers(0, 2**32 - 1))
def test_agrees_with_the_definition(positives: int, negatives: int, models: int, levels: int, seed: int) -> None:
    """With few levels most scores are tied."""
    generator = np.random.default_rng(seed)
    positive = generator.permutation(np.arange(positives + negatives) < positives)
    scores = generator.integers(levels, size=(models, positive.size)) + positive
    areas, covariance = auc_covariance(positive, scores)
    expected_areas, expected_covariance = pair_by_pair(positive, scores)
    np.testing.assert_allclose(areas, expected_areas, atol=1e-12)
    np.testing.assert_allclose(covariance, expected_covariance, atol=1e-12)
    assert areas[0] == pytest.approx(roc_auc_score(positive, scores[0]))


@given(st.integers(0, 2**32 - 1))
def test_only_the_order_of_the_scores_counts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive = np.arange(40) < 15
    first, second = generator.normal(positive * 1.0), generator.normal(positive * 0.5)
    plain, warped = delong_test(positive, first, second), delong_test(positive, np.exp(first), second * 3 + 1)
    assert warped.statistic == pytest.approx(plain.statistic)
    back = delong_test(positive, second, first)
    assert (back.gain, back.p_value) == pytest.approx((-plain.gain, plain.p_value))
    assert plain.low <= plain.gain <= plain.high


def test_p_values_are_uniform_between_equally_good_scores() -> None:
    """Oracle: the Kolmogorov-Smirnov test of uniformity on 400 simulations."""
    generator = np.random.default_rng(2)
    positive = np.arange(200) < 80
    p_values = []
    for _ in range(400):
        signal = generator.normal(positive * 1.0)
        first, second = signal + generator.normal(size=200), signal + generator.normal(size=200)
        p_values.append(delong_test(positive, first, second).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_scores_that_rank_alike_do_not_differ() -> None:
    scores = np.random.default_rng(1).random(30)
    positive = np.arange(30) < 10
    test = delong_test(positive, scores, scores * 2)
    assert (test.gain, test.statistic, test.p_value, test.low, test.high) == (0, 0, 1, 0, 0)


def test_perfect_and_reversed_scores_differ_for_sure() -> None:
    test = delong_test([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
    assert (test.gain, test.statistic, test.p_value) == (1.0, float("inf"), 0.0)


def test_the_interval_of_one_area_covers_at_its_level() -> None:
    generator, covered = np.random.default_rng(3), 0
    positive, truth = np.arange(150) < 60, float(stats.norm.cdf(1 / np.sqrt(2)))
    for _ in range(400):
        _, interval = auc_interval(positive, generator.normal(positive * 1.0))
        covered += interval.low <= truth <= interval.high
    assert 0.92 * 400 <= covered <= 0.98 * 400


def test_a_million_rows_take_no_quadratic_time() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(200_000) < 0.5
    test = delong_test(positive, generator.normal(positive * 1.0), generator.normal(positive * 0.9))
    assert test.gain == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)) - stats.norm.cdf(0.9 / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize(
    ("positive", "scores"), [([1, 0], [1, 2]), ([0, 0, 1, 1], [1, 2, 3]), ([0, 0, 1, 1], [1, 2, 3, float("nan")])]
)
def test_nonsense_is_refused(positive: list[int], scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"rows|NaN"):
        delong_test(positive, scores, scores)
