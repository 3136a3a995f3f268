"""Adjusted p values against statsmodels and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from statsmodels.stats.multitest import multipletests

from airflow_provider_mlops.stats.drift.multiple_testing import benjamini_hochberg, holm

P_VALUES = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1))


@settings(max_examples=8)  # An oracle that takes a tenth of a second a call.
@given(P_VALUES)
def test_holm_agrees_with_statsmodels(p_values: np.ndarray) -> None:
    """Oracle: `statsmodels.stats.multitest.multipletests`."""
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], rtol=1e-12)


@given(P_VALUES)
def test_benjamini_hochberg_agrees_with_scipy(p_values: np.ndarray) -> None:
    """Oracle: `scipy.stats.false_discovery_control`."""
    np.testing.assert_allclose(benjamini_hochberg(p_values), stats.false_discovery_control(p_values), rtol=1e-12)


@given(P_VALUES)
def test_adjusted_values_are_larger_and_keep_the_order(p_values: np.ndarray) -> None:
    order = np.argsort(p_values, kind="stable")
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p_values)
        assert np.all(adjusted >= p_values * (1 - 1e-12))
        assert np.all(np.diff(adjusted[order]) >= 0)
    assert np.all(holm(p_values) >= benjamini_hochberg(p_values) * (1 - 1e-12))


def test_none_is_none_and_nonsense_is_refused() -> None:
    assert holm([]).size == benjamini_hochberg([]).size == 0
    for nonsense in ([1.5], [-0.1], [float("nan")], [[0.5]]):
        with pytest.raises(ValueError, match="p_values"):
            holm(nonsense)
