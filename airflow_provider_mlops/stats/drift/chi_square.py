"""Chi-square test of whether two samples of counts come from one distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.drift.counts import drop_empty_cells, pool_cells
from airflow_provider_mlops.stats.drift.result import DriftTestResult


def chi_square_test(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    *,
    false_alarm_rate: float = 0.01,
    ordered: bool = False,
    min_expected: float = 5.0,
) -> DriftTestResult:
    r"""Test two vectors of counts for homogeneity.

    .. math:: X^2 = \sum_i \frac{(m\,c_i - n\,r_i)^2}{m\,n\,(r_i + c_i)}

    for reference counts :math:`r` of :math:`m` rows and current counts :math:`c` of :math:`n` rows, distributed as
    :math:`\chi^2_{k-1}` without drift. Pearson (1911), *On the probability that two independent distributions of
    frequency are really samples from the same population*, Biometrika 8, 250-254. The reference is treated as a sample
    with noise of its own, like the current rows.

    Cells are pooled first (`pool_cells`). If fewer than two cells are left, nothing can be compared: the statistic is
    0, the p value 1 and the threshold infinite.

    Parameters
    ----------
    reference_counts, current_counts
        Counts, shape `(cells,)`: bins of a histogram, or the most frequent values with all others in the last cell.
    false_alarm_rate
        Probability that the statistic exceeds the returned threshold without drift.
    ordered
        Whether adjacent cells may be pooled (bins of a number) or only rare ones (values of a category).
    min_expected
        Number of rows that each pooled cell must expect in the smaller sample.

    Returns
    -------
    DriftTestResult
        Its effect is `cramers_v` of the pooled cells.

    Examples
    --------
    >>> test = chi_square_test([500, 300, 200], [40, 35, 25])
    >>> round(test.statistic, 3), test.degrees_of_freedom, round(test.p_value, 3)
    (3.709, 2, 0.157)
    """
    reference, current = pool_cells(reference_counts, current_counts, ordered=ordered, min_expected=min_expected)
    rows = int(reference.sum()), int(current.sum())
    degrees = reference.size - 1
    if degrees < 1:
        return DriftTestResult.not_comparable(*rows, false_alarm_rate)
    statistic = chi_square_statistic(reference, current)
    return DriftTestResult(
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
    """Return Pearson's statistic without pooling. Cells that are empty in both samples are left out.

    The parameters and errors are those of `drop_empty_cells`.

    >>> chi_square_statistic([10, 10], [5, 5])
    0.0
    """
    reference, current = drop_empty_cells(reference_counts, current_counts)
    reference_rows, current_rows = reference.sum(), current.sum()
    gap = reference / reference_rows - current / current_rows
    pooled = (reference + current) / (reference_rows + current_rows)
    effective_rows = reference_rows * current_rows / (reference_rows + current_rows)
    return float(effective_rows * np.sum(gap**2 / pooled))


def cramers_v(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""Return the strength of association between the sample and the cell of a row: :math:`\sqrt{X^2/(m+n)}`.

    Cramér (1946), *Mathematical Methods of Statistics*, chapter 21, for a table of two rows. It is 0 for equal
    distributions, and 1 if no cell has rows of both samples. It depends on how the rows are divided between the two
    samples: a small current sample against a large reference has a small V however far it drifted. To use one minimum
    for all sample sizes, use `unbiased_population_stability_index`.

    >>> cramers_v([10, 0], [0, 10])
    1.0
    """
    reference, current = drop_empty_cells(reference_counts, current_counts)
    return float(np.sqrt(chi_square_statistic(reference, current) / (reference.sum() + current.sum())))
