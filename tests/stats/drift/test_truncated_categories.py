"""Categories of which only the reference's most frequent values were counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.stats.drift.chi_square import chi_square_test
from airflow_provider_mlops.stats.drift.truncated_categories import (
    borderline_values,
    compare_truncated_categories,
    other_rows_shortfall,
)


def test_a_complete_list_is_an_ordinary_chi_square_test() -> None:
    expected = chi_square_test([500, 300, 200], [60, 20, 40])
    comparison = compare_truncated_categories([500, 300, 200, 0], [60, 20, 40, 0])
    assert (comparison.statistic, comparison.degrees_of_freedom) == (expected.statistic, expected.degrees_of_freedom)


def test_values_that_are_clear_of_the_others_are_compared_as_they_are() -> None:
    expected = chi_square_test([500, 300, 200], [60, 20, 40])
    comparison = compare_truncated_categories([500, 300, 200], [60, 20, 40])
    assert not borderline_values([500, 300, 20])[:2].any()
    assert comparison.degrees_of_freedom == expected.degrees_of_freedom == 2


def test_the_contrast_of_marginal_and_other_values_is_left_out() -> None:
    """Equally frequent values, half of them listed: what the list chose says nothing."""
    reference = [60] * 10 + [400]
    assert borderline_values(reference).all()
    moved = compare_truncated_categories(reference, [30] * 10 + [700])
    assert moved.statistic == 0
    assert compare_truncated_categories(reference, [300] + [30] * 9 + [400]).psi > 0.3
    assert 0 < other_rows_shortfall(reference) <= 600


@given(st.lists(st.integers(0, 300), min_size=1, max_size=15), st.integers(0, 500))
def test_marginal_values_are_the_rarest_ones(counts: list[int], others: int) -> None:
    marginal = borderline_values([*counts, others])[:-1]
    listed = np.array(counts)
    if marginal.any() and not marginal.all():
        assert listed[marginal].max() < listed[~marginal].min()
    assert 0 <= other_rows_shortfall([*counts, others]) <= listed.sum()
