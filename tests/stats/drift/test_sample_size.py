"""Sample sizes against statsmodels, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import GofChisquarePower

from airflow_provider_mlops.stats.drift.chi_square import chi_square_test
from airflow_provider_mlops.stats.drift.sample_size import (
    detectable_drift,
    noncentrality_to_detect,
    power_to_detect_drift,
    rows_to_detect_drift,
)


@settings(max_examples=20)
@given(st.floats(0.05, 1.0), st.integers(2, 30), st.floats(0.0005, 0.05), st.floats(0.5, 0.95))
def test_drift_from_a_known_distribution_agrees_with_statsmodels(
    effect: float, cells: int, rate: float, power: float
) -> None:
    """Oracle: `statsmodels.stats.power.GofChisquarePower`, whose effect squared is the chi-square divergence."""
    rows = rows_to_detect_drift(effect, cells, false_alarm_rate=rate, power=power)
    assert rows is not None
    reached = GofChisquarePower().power(np.sqrt(effect), rows, rate, n_bins=cells)
    missed = GofChisquarePower().power(np.sqrt(effect), rows - 1, rate, n_bins=cells)
    assert missed <= power + 1e-6 <= reached + 2e-6


def test_a_textbook_noncentrality() -> None:
    """Cohen (1988), table 7.4: one degree of freedom, 5 %, power 0.8 needs w = 0.1 and 785 rows."""
    assert noncentrality_to_detect(1, 0.05, 0.8) == pytest.approx(7.849, abs=1e-3)
    assert rows_to_detect_drift(0.01, 2, false_alarm_rate=0.05) == 785


@given(st.floats(0.05, 1.0), st.integers(2, 25), st.integers(200, 10_000))
def test_rows_effect_and_power_are_inverse_to_each_other(effect: float, cells: int, reference_rows: int) -> None:
    rows = rows_to_detect_drift(effect, cells, reference_rows=reference_rows)
    if rows is None:
        assert detectable_drift(reference_rows, 10**12, cells) >= effect * (1 - 1e-6)
    else:
        assert detectable_drift(reference_rows, rows, cells) <= effect * (1 + 1e-9)
        assert power_to_detect_drift(effect, reference_rows, rows, cells) >= 0.8 - 1e-6
        assert rows == 1 or detectable_drift(reference_rows, rows - 1, cells) > effect * (1 - 1e-9)


def test_the_promised_power_is_what_simulation_finds() -> None:
    """A normal feature in ten equal bins moves by 0.4 standard deviations: the PSI of the bins is known exactly."""
    edges = np.concatenate([[-np.inf], stats.norm.ppf(np.linspace(0, 1, 11)[1:-1]), [np.inf]])
    before, now = np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges, 0.4))
    effect = float(np.sum((now - before) * np.log(now / before)))
    rows = rows_to_detect_drift(effect, 10, reference_rows=1000)
    assert rows is not None
    generator = np.random.default_rng(0)
    power = np.mean(
        [
            chi_square_test(generator.multinomial(1000, before), generator.multinomial(rows, now), ordered=True).drifted
            for _ in range(800)
        ]
    )
    assert power == pytest.approx(0.8, abs=0.06)


def test_no_rows_show_nothing() -> None:
    assert detectable_drift(0, 100, 5) == float("inf")
    assert power_to_detect_drift(1.0, 100, 0, 5) == 0
    assert rows_to_detect_drift(0.01, 10, reference_rows=100) is None


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: rows_to_detect_drift(0.0, 5),
        lambda: rows_to_detect_drift(0.1, 1),
        lambda: rows_to_detect_drift(0.1, 5, false_alarm_rate=0.9),
    ):
        with pytest.raises(ValueError, match=r"must be"):
            refused()
