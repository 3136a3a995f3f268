"""Intervals for proportions and means against statsmodels and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from airflow_provider_mlops.stats.intervals.mean import mean_interval, mean_interval_from_moments
from airflow_provider_mlops.stats.intervals.proportion import clopper_pearson_interval, wilson_interval

PROPORTIONS = st.integers(1, 3000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows)))
CONFIDENCE = st.floats(0.5, 0.999)


@given(PROPORTIONS, CONFIDENCE)
def test_proportions_agree_with_statsmodels(proportion: tuple[int, int], confidence: float) -> None:
    """Oracle: `statsmodels.stats.proportion.proportion_confint`."""
    wilson = proportion_confint(*proportion, alpha=1 - confidence, method="wilson")
    exact = proportion_confint(*proportion, alpha=1 - confidence, method="beta")
    assert wilson_interval(*proportion, confidence) == pytest.approx(wilson, abs=1e-9)
    assert clopper_pearson_interval(*proportion, confidence) == pytest.approx(exact, abs=1e-9)


@given(PROPORTIONS, CONFIDENCE)
def test_intervals_of_proportions_hold_the_estimate(proportion: tuple[int, int], confidence: float) -> None:
    for interval in (wilson_interval(*proportion, confidence), clopper_pearson_interval(*proportion, confidence)):
        assert 0 <= interval.low <= proportion[0] / proportion[1] <= interval.high <= 1


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=50), CONFIDENCE)
def test_means_agree_with_statsmodels(values: list[float], confidence: float) -> None:
    """Oracle: `statsmodels.stats.weightstats.DescrStatsW.tconfint_mean`."""
    interval = mean_interval(values, confidence)
    assert interval == pytest.approx(DescrStatsW(values).tconfint_mean(1 - confidence), abs=1e-6)
    assert interval.low <= np.mean(values) <= interval.high


def test_published_wilson_interval() -> None:
    """Newcombe (1998), *Two-sided confidence intervals for the single proportion*, Stat. in Medicine 17, table I."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert clopper_pearson_interval(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert clopper_pearson_interval(0, 20) == pytest.approx((0.0, 0.1684), abs=5e-5)


def test_the_exact_interval_covers_at_least_its_level() -> None:
    for rows, proportion in ((20, 0.1), (50, 0.37), (200, 0.985)):
        covered = sum(
            float(stats.binom.pmf(successes, rows, proportion))
            for successes in range(rows + 1)
            if (interval := clopper_pearson_interval(successes, rows)).low <= proportion <= interval.high
        )
        assert covered >= 0.95


@pytest.mark.parametrize("arguments", [(3, 2, 0.95), (-1, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_nonsense_is_refused(arguments: tuple[int, int, float]) -> None:
    for interval in (wilson_interval, clopper_pearson_interval):
        with pytest.raises(ValueError, match=r"successes|confidence"):
            interval(*arguments)


def test_means_of_nothing_are_refused() -> None:
    for values in ([1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="at least two"):
            mean_interval(values)
    with pytest.raises(ValueError, match="at least 2"):
        mean_interval_from_moments(0.0, 1.0, 1)
