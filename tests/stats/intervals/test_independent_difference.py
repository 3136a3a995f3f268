"""MOVER intervals of differences. The oracles are Newcombe's published example and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.stats.intervals.independent_difference import difference_interval
from airflow_provider_mlops.stats.intervals.proportion import wilson_interval


@pytest.mark.parametrize(
    ("hits", "rows", "other_hits", "other_rows"), [(56, 70, 48, 80), (9, 10, 3, 10), (10, 10, 0, 20), (5, 56, 0, 29)]
)
def test_the_difference_of_shares_is_newcombes(hits: int, rows: int, other_hits: int, other_rows: int) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    expected = confint_proportions_2indep(hits, rows, other_hits, other_rows, method="newcomb")
    interval = difference_interval(
        hits / rows, wilson_interval(hits, rows), other_hits / other_rows, wilson_interval(other_hits, other_rows)
    )
    assert interval == pytest.approx(expected, abs=1e-9)


def test_newcombes_published_example() -> None:
    """Newcombe (1998), method 10: 56/70 - 48/80 has the interval 0.0524 to 0.3339."""
    interval = difference_interval(56 / 70, wilson_interval(56, 70), 48 / 80, wilson_interval(48, 80))
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_of_normal_intervals_variances_add() -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    generator = np.random.default_rng(0)
    one, other = (DescrStatsW(generator.normal(size=size)) for size in (30, 80))
    interval = difference_interval(one.mean, one.zconfint_mean(), other.mean, other.zconfint_mean())
    assert interval == pytest.approx(CompareMeans(one, other).zconfint_diff(usevar="unequal"))


DISTANCE = st.floats(0, 5)


@given(st.floats(-10, 10), DISTANCE, DISTANCE, st.floats(-10, 10), DISTANCE, DISTANCE)
def test_exchanging_the_two_mirrors_the_interval(
    value: float, below: float, above: float, other: float, other_below: float, other_above: float
) -> None:
    first, second = (value, (value - below, value + above)), (other, (other - other_below, other + other_above))
    low, high = difference_interval(*first, *second)
    assert low - 1e-12 <= value - other <= high + 1e-12
    assert difference_interval(*second, *first) == pytest.approx((-high, -low), abs=1e-12)
