"""Chi-square test that two samples of counts come from one distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.drift.counts import filled_pair, pool_cells
from airflow_provider_mlops.stats.drift.result import DriftTest


def chi_square_test(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    *,
    false_alarm_rate: float = 0.01,
    ordered: bool = False,
    min_expected: float = 5.0,
) -> DriftTest:
    r"""Test two vectors of counts for homogeneity.

    .. math:: X^2 = \sum_i \frac{(m\,c_i - n\,r_i)^2}{m\,n\,(r_i + c_i)}

    for reference counts :math:`r` of :math:`m` rows and current counts :math:`c` of :math:`n`, distributed as
    :math:`\chi^2_{k-1}` without drift. Pearson (1911), *On the probability that two independent distributions of
    frequency are really samples from the same population*, Biometrika 8, 250-254. The sampling noise of the
    reference is accounted for: it is a sample like the other.

    Cells are pooled first (`pool_cells`). With fewer than two cells left nothing can be compared: statistic 0,
    p value 1, an infinite threshold.

    Parameters
    ----------
    reference_counts, current_counts
        Counts of shape `(cells,)`: bins of a histogram, or top values with 'other' as the last.
    false_alarm_rate
        Rate at which the returned threshold is crossed without drift.
    ordered
        Whether neighbouring cells may be pooled (bins of a number) or only rare ones (values of a category).
    min_expected
        Rows each pooled cell expects in the smaller sample.

    Returns
    -------
    `DriftTest` whose effect is `cramers_v` of the pooled cells.

    >>> test = chi_square_test([500, 300, 200], [40, 35, 25])
    >>> round(test.statistic, 3), test.degrees_of_freedom, round(test.p_value, 3)
    (3.709, 2, 0.157)
    """
    reference, current = pool_cells(reference_counts, current_counts, ordered=ordered, min_expected=min_expected)
    rows = int(reference.sum()), int(current.sum())
    degrees = reference.size - 1
    if degrees < 1:
        return DriftTest.of_nothing(*rows, false_alarm_rate)
    statistic = chi_square_statistic(reference, current)
    return DriftTest(
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic, degrees)),
        threshold=float(stats.chi2.isf(false_alarm_rate, degrees)),
        effect=cramers_v(reference, current),
        degrees_of_freedom=degrees,
        reference_rows=rows[0],
        current_rows=rows[1],
        false_alarm_rate=false_alarm_rate,
    )


def chi_square_statistic(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Pearson's statistic without pooling. Cells that are empty on both sides are left out.

    Parameters and what is raised as for `filled_pair`.

    >>> chi_square_statistic([10, 10], [5, 5])
    0.0
    """
    reference, current = filled_pair(reference_counts, current_counts)
    reference_rows, current_rows = reference.sum(), current.sum()
    gap = reference / reference_rows - current / current_rows
    pooled = (reference + current) / (reference_rows + current_rows)
    effective_rows = reference_rows * current_rows / (reference_rows + current_rows)
    return float(effective_rows * np.sum(gap**2 / pooled))


def cramers_v(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""The strength of association between the sample a row belongs to and its cell: :math:`\sqrt{X^2/(m+n)}`.

    Cramér (1946), *Mathematical Methods of Statistics*, chapter 21, for a table of two rows. Zero for equal
    distributions, one when no cell has rows of both. It depends on how the rows split between the two samples: a
    small current sample against a large reference has a small V however far it drifted. Use
    `unbiased_population_stability_index` where one minimum is to serve all sample sizes.

    >>> cramers_v([10, 0], [0, 10])
    1.0
    """
    reference, current = filled_pair(reference_counts, current_counts)
    return float(np.sqrt(chi_square_statistic(reference, current) / (reference.sum() + current.sum())))
