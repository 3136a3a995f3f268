"""Measures of association against independent oracles: SciPy, scikit-learn and NumPy."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from airflow_provider_mlops.data import association
from airflow_provider_mlops.data.association import Group

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@settings(deadline=None)
@given(groups=st.lists(numbers, min_size=1, max_size=6))
def test_merged_moments_are_those_of_all_values(groups: list[list[float]]) -> None:
    merged = association.merge(Group(len(g), float(numpy.mean(g)), float(numpy.var(g))) for g in groups)
    values = numpy.concatenate(groups)
    assert merged.count == len(values)
    assert merged.mean == pytest.approx(values.mean(), abs=1e-6)
    assert merged.variance == pytest.approx(values.var(), rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(values=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 50)), min_size=2, max_size=60))
def test_correlation_ratio_is_the_root_of_r_squared_of_the_group_means(values: list[tuple[str, int]]) -> None:
    names = numpy.array([name for name, _ in values])
    y = numpy.array([float(value) for _, value in values])
    groups = [
        Group(int((names == n).sum()), float(y[names == n].mean()), float(y[names == n].var())) for n in set(names)
    ]
    ratio = association.correlation_ratio(groups)
    if y.var() == 0:
        assert ratio is None
        return
    fitted = numpy.array([y[names == name].mean() for name in names])
    # The share of explained variance of the least-squares fit on the group means.
    assert ratio == pytest.approx(
        math.sqrt(max(0.0, 1 - ((y - fitted) ** 2).sum() / ((y - y.mean()) ** 2).sum())), abs=1e-6
    )


def test_cramers_v_equals_scipys_chi_square_with_bergsmas_correction() -> None:
    random = numpy.random.default_rng(3)
    for rows, columns in ((2, 2), (3, 4), (5, 2)):
        table = random.integers(0, 60, (rows, columns)) + numpy.eye(rows, columns, dtype=int) * 40 + 1
        n = table.sum()
        phi = scipy.stats.chi2_contingency(table, correction=False).statistic / n
        corrected = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
        r, k = rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)
        counts = {(i, j): int(table[i, j]) for i in range(rows) for j in range(columns)}
        assert association.cramers_v(counts) == pytest.approx(math.sqrt(corrected / min(r - 1, k - 1)))


def test_cramers_v_of_independent_columns_is_near_zero_however_many_categories() -> None:
    random = numpy.random.default_rng(4)
    pairs = zip(random.integers(0, 50, 2000).tolist(), random.integers(0, 5, 2000).tolist(), strict=True)
    counts: dict[tuple[object, object], int] = {}
    for pair in pairs:
        counts[pair] = counts.get(pair, 0) + 1
    v = association.cramers_v(counts)
    assert v is not None
    # Without the correction it would be about sqrt(49 * 4 / 2000 / 4) = 0.16.
    assert v < 0.1


def test_cramers_v_needs_two_categories_on_both_sides() -> None:
    assert association.cramers_v({("a", 0): 10, ("a", 1): 5}) is None
    assert association.cramers_v({}) is None


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60))
def test_area_under_curve_equals_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    labels = [label for _, label in pairs]
    bins = [(sum(1 for x, y in pairs if x == b and not y), sum(1 for x, y in pairs if x == b and y)) for b in range(9)]
    area = association.area_under_curve(bins)
    if len(set(labels)) < 2:
        assert area is None
    else:
        assert area == pytest.approx(roc_auc_score(labels, [x for x, _ in pairs]))


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=60), gap=st.booleans())
def test_spearman_equals_scipys(pairs: list[tuple[int, int]], gap: bool) -> None:
    x, y = (numpy.array(values, dtype=float) for values in zip(*pairs, strict=True))
    complete = slice(None)
    if gap:
        x, y = numpy.append(x, [numpy.nan, 1.0]), numpy.append(y, [3.0, numpy.nan])
        complete = slice(0, -2)
    correlation = association.spearman(x, y)
    if len(set(x[complete])) < 2 or len(set(y[complete])) < 2:
        assert correlation is None
    else:
        assert correlation == pytest.approx(scipy.stats.spearmanr(x[complete], y[complete]).statistic, abs=1e-12)
