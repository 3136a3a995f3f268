"""Kolmogorov-Smirnov on counts against SciPy on values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.drift.kolmogorov_smirnov import kolmogorov_smirnov_test

VALUES = st.lists(st.integers(0, 8), min_size=2, max_size=60)


@given(VALUES, VALUES)
def test_one_bin_for_each_value_is_the_test_of_values(reference: list[int], current: list[int]) -> None:
    """Oracle: the asymptotic mode of `scipy.stats.ks_2samp`."""
    test = kolmogorov_smirnov_test(np.bincount(reference, minlength=9), np.bincount(current, minlength=9))
    expected = stats.ks_2samp(reference, current, method="asymp")
    assert test.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert test.p_value == pytest.approx(expected.pvalue, abs=1e-6)


@given(VALUES, VALUES, st.sets(st.integers(1, 8), max_size=8))
def test_coarser_bins_never_find_more(reference: list[int], current: list[int], kept: set[int]) -> None:
    fine = np.bincount(reference, minlength=9), np.bincount(current, minlength=9)
    starts = [0, *sorted(kept)]
    coarse = np.add.reduceat(fine[0], starts), np.add.reduceat(fine[1], starts)
    assert kolmogorov_smirnov_test(*coarse).p_value >= kolmogorov_smirnov_test(*fine).p_value - 1e-12


def test_is_conservative_on_bins() -> None:
    generator = np.random.default_rng(2)
    shares = np.full(10, 0.1)
    alarms = sum(
        kolmogorov_smirnov_test(
            generator.multinomial(500, shares), generator.multinomial(100, shares), false_alarm_rate=0.05
        ).drifted
        for _ in range(1000)
    )
    assert alarms <= 50


def test_no_rows_are_no_drift() -> None:
    assert kolmogorov_smirnov_test([1, 2], [0, 0]).p_value == 1
