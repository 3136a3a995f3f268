"""The chi-square test of homogeneity against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from airflow_provider_mlops.stats.drift.chi_square import chi_square_statistic, chi_square_test, cramers_v

LARGE = st.integers(2, 12).flatmap(
    lambda cells: st.tuples(
        hnp.arrays(np.int64, cells, elements=st.integers(10, 2000)),
        hnp.arrays(np.int64, cells, elements=st.integers(10, 2000)),
    )
)


@given(LARGE)
def test_agrees_with_scipys_contingency_test(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Oracle: `scipy.stats.chi2_contingency` and `scipy.stats.contingency.association`, without pooling."""
    expected = stats.chi2_contingency(np.array(pair), correction=False)
    test = chi_square_test(*pair, min_expected=0)
    assert test.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)
    assert test.degrees_of_freedom == expected.dof
    assert test.effect == pytest.approx(stats.contingency.association(np.array(pair), "cramer"), abs=1e-9)


@given(LARGE)
def test_is_symmetric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert chi_square_statistic(*pair) == pytest.approx(chi_square_statistic(*pair[::-1]), abs=1e-9)
    assert 0 <= cramers_v(*pair) <= 1


def test_cells_empty_on_both_sides_do_not_count() -> None:
    assert chi_square_test([50, 0, 50], [30, 0, 20], min_expected=0).statistic == pytest.approx(
        chi_square_test([50, 50], [30, 20], min_expected=0).statistic
    )


def test_holds_its_level_with_many_rare_cells() -> None:
    generator = np.random.default_rng(11)
    shares = 1 / np.arange(1, 60) ** 1.5
    shares /= shares.sum()
    alarms = sum(
        chi_square_test(
            generator.multinomial(400, shares), generator.multinomial(90, shares), false_alarm_rate=0.05
        ).drifted
        for _ in range(1500)
    )
    assert alarms <= stats.binom.ppf(0.999, 1500, 0.05)
    assert alarms >= stats.binom.ppf(0.001, 1500, 0.025)


def test_the_effect_of_a_small_sample_against_a_large_one_is_small() -> None:
    """Why `cramers_v` is documented not to serve as a minimum effect."""
    assert cramers_v([500_000, 500_000], [400, 100]) < 0.02
    assert cramers_v([500, 500], [400, 100]) > 0.2


def test_nothing_to_compare_is_not_a_drift() -> None:
    test = chi_square_test([100], [5])
    assert (test.p_value, test.degrees_of_freedom, test.drifted) == (1.0, 0, False)
    assert not chi_square_test([100, 10], [0, 0]).drifted
    with pytest.raises(ValueError, match="both samples must have rows"):
        chi_square_statistic([100, 10], [0, 0])
