"""Paired tests of losses against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.paired.loss_tests import paired_t_test, wilcoxon_test


@given(st.integers(3, 80), st.floats(-1, 1), st.integers(0, 2**32 - 1))
def test_agree_with_scipy(rows: int, shift: float, seed: int) -> None:
    """Oracles: `scipy.stats.ttest_rel` and `scipy.stats.wilcoxon`."""
    generator = np.random.default_rng(seed)
    champion = generator.exponential(size=rows)
    candidate = champion + generator.normal(shift, 0.5, size=rows)
    test, expected = paired_t_test(candidate, champion), stats.ttest_rel(champion, candidate)
    assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-6)
    assert (test.low, test.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-6, abs=1e-9)
    assert test.low <= test.gain <= test.high
    signed, oracle = wilcoxon_test(candidate, champion), stats.wilcoxon(champion, candidate)
    assert (signed.statistic, signed.p_value) == pytest.approx((oracle.statistic, oracle.pvalue))


def test_the_centre_withstands_an_outlier() -> None:
    champion = np.linspace(1, 2, 30)
    candidate = champion - 0.1
    candidate[0] = 1e6
    assert wilcoxon_test(candidate, champion).gain == pytest.approx(0.1, abs=1e-6)
    assert wilcoxon_test(candidate, champion).p_value < 0.001
    assert paired_t_test(candidate, champion).gain < -1000
    many = wilcoxon_test(np.tile(candidate, 100), np.tile(champion, 100))
    assert many.gain == pytest.approx(0.1, abs=1e-6)


def test_equal_losses() -> None:
    losses = np.arange(10.0)
    for test in (paired_t_test(losses, losses), wilcoxon_test(losses, losses)):
        assert (test.gain, test.statistic, test.p_value, test.low, test.high) == (0, 0, 1, 0, 0)
    sure = paired_t_test(losses, losses + 1)
    assert (sure.statistic, sure.p_value) == (float("inf"), 0)


def test_nonsense_is_refused() -> None:
    for pair in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, float("nan")], [1.0, 2.0])):
        for test in (paired_t_test, wilcoxon_test):
            with pytest.raises(ValueError, match="losses"):
                test(*pair)
