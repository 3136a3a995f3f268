"""McNemar's exact test against statsmodels and a published example."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from airflow_provider_mlops.stats.paired.mcnemar import mcnemar_test

TABLES = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda table: sum(table) > 0)


def rows_of(both: int, only_candidate: int, only_champion: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    repeats = [both, only_candidate, only_champion, neither]
    return np.repeat([True, True, False, False], repeats), np.repeat([True, False, True, False], repeats)


@given(TABLES)
def test_agrees_with_statsmodels(table: tuple[int, int, int, int]) -> None:
    """Oracle: `statsmodels.stats.contingency_tables.mcnemar(exact=True)`, undefined without discordant rows."""
    test = mcnemar_test(*rows_of(*table))
    assert (test.only_candidate, test.only_champion, test.rows) == (table[1], table[2], sum(table))
    if table[1] + table[2]:
        expected = mcnemar([[table[0], table[1]], [table[2], table[3]]], exact=True).pvalue
        assert test.p_value == pytest.approx(min(1.0, expected), rel=1e-9)
    else:
        assert test.p_value == 1


@given(TABLES)
def test_swapping_the_classifiers_turns_the_gain_round(table: tuple[int, int, int, int]) -> None:
    candidate, champion = rows_of(*table)
    there, back = mcnemar_test(candidate, champion), mcnemar_test(champion, candidate)
    assert (there.p_value, there.gain) == (back.p_value, -back.gain)
    assert there.gain == pytest.approx(candidate.mean() - champion.mean())


def test_a_worked_example() -> None:
    """Agresti, *Categorical Data Analysis*, approval ratings 794, 150, 86, 570: chi-square 17.36 without correction."""
    test = mcnemar_test(*rows_of(794, 86, 150, 570))
    discordant = test.only_candidate + test.only_champion
    assert (test.gain * test.rows) ** 2 / discordant == pytest.approx(17.36, abs=0.005)
    assert test.p_value == pytest.approx(3.7e-5, abs=0.2e-5)


def test_nonsense_is_refused() -> None:
    for pair in (([True], [True, False]), ([], [])):
        with pytest.raises(ValueError, match="equal length"):
            mcnemar_test(*pair)
