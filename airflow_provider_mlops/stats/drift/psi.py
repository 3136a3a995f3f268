"""The population stability index (PSI), and its distribution if nothing has drifted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_unit_interval
from airflow_provider_mlops.stats.drift.counts import drop_empty_cells, pool_cells, validate_count_pair
from airflow_provider_mlops.stats.drift.result import DriftTestResult


def population_stability_index(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""Return the symmetric relative entropy between two histograms over the same cells.

    .. math:: \mathrm{PSI} = \sum_i (q_i - p_i) \ln\frac{q_i}{p_i}

    with :math:`p` the proportions of the reference and :math:`q` those of the current rows. It is Jeffreys' divergence:
    Kullback and Leibler (1951), *On information and sufficiency*, Annals of Mathematical Statistics 22(1).

    A cell that is empty in both samples is left out. A cell that is empty in one sample counts as half a row there, so
    that the index stays finite and shrinks as the sample that missed the cell shrinks. Counts that are proportional to
    each other therefore give exactly zero.

    Parameters
    ----------
    reference_counts, current_counts
        Counts, shape `(cells,)`, each with at least one row.

    Raises
    ------
    ValueError
        If a sample has no rows, or the counts are not two vectors of the same shape without negative numbers.

    Examples
    --------
    >>> round(population_stability_index([100, 200, 100], [90, 180, 130]), 4)
    0.0276
    >>> population_stability_index([10, 20], [100, 200])
    0.0
    """
    return _psi(*_proportions(reference_counts, current_counts))


def unbiased_population_stability_index(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""Return the PSI without the part that chance adds, and at least 0.

    Two samples of :math:`m` and :math:`n` rows from the same distribution over :math:`k` cells have
    :math:`E[\mathrm{PSI}] \approx (1/m + 1/n)(k - 1)`; see `psi_null_quantile`.

    Parameters
    ----------
    reference_counts, current_counts
        Counts, shape `(cells,)`, each with at least one row.

    Examples
    --------
    >>> population_stability_index([500, 500], [26, 24]) > 0
    True
    >>> unbiased_population_stability_index([500, 500], [26, 24])
    0.0
    """
    reference, current = validate_count_pair(reference_counts, current_counts)
    cells = int(np.count_nonzero(reference + current))
    index = population_stability_index(reference, current)
    return debiased_psi(index, cells, float(reference.sum()), float(current.sum()))


def debiased_psi(index: float, cells: int, reference_rows: float, current_rows: float) -> float:
    """Return a PSI over a number of filled cells without the part that chance adds, and at least 0.

    >>> round(debiased_psi(0.1, cells=6, reference_rows=10_000, current_rows=100), 4)
    0.0495
    """
    return max(0.0, index - _noise(reference_rows, current_rows) * (cells - 1))


def psi_null_quantile(probability: float, cells: int, reference_rows: int, current_rows: int) -> float:
    r"""Return the PSI that two samples without drift stay below with the given probability.

    .. math:: \mathrm{PSI} \;\sim\; \left(\tfrac1m + \tfrac1n\right)\,\chi^2_{k-1}

    Yurdakul and Naranjo (2020), *Statistical properties of the population stability index*, Journal of Risk Model
    Validation 14(4). Nearly every sample of 50 rows exceeds the usual fixed level of 0.1.

    Parameters
    ----------
    probability
        Probability between 0 and 1: one minus the false alarm rate.
    cells
        Number of cells of the histogram, at least 2.
    reference_rows, current_rows
        Rows of each sample, at least 1.

    Examples
    --------
    >>> round(psi_null_quantile(0.99, cells=10, reference_rows=100_000, current_rows=50), 2)
    0.43
    >>> round(psi_null_quantile(0.99, cells=10, reference_rows=100_000, current_rows=50_000), 4)
    0.0006
    """
    check_unit_interval(probability=probability)
    if cells < 2 or reference_rows < 1 or current_rows < 1:
        raise ValueError(
            "cells must be at least 2, and reference_rows and current_rows at least 1, "
            f"got cells={cells}, reference_rows={reference_rows}, current_rows={current_rows}"
        )
    return float(_noise(reference_rows, current_rows) * stats.chi2.ppf(probability, cells - 1))


def psi_test(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    *,
    false_alarm_rate: float = 0.01,
    ordered: bool = True,
    min_expected: float = 5.0,
) -> DriftTestResult:
    """Test whether a PSI is larger than chance explains for samples of these sizes.

    Cells are pooled first (`pool_cells`), because the null distribution is valid only if each cell expects some rows.
    If fewer than two cells are left, nothing can be compared: the statistic is 0, the p value 1 and the threshold
    infinite.

    Parameters
    ----------
    reference_counts, current_counts, false_alarm_rate, ordered, min_expected
        As for `chi_square_test`.

    Returns
    -------
    DriftTestResult
        Its statistic is the PSI of the pooled cells, and its effect the unbiased PSI.

    Examples
    --------
    >>> same = psi_test([1000, 2000, 1000], [12, 25, 13])
    >>> same.drifted, round(same.threshold, 2)
    (False, 0.19)
    >>> psi_test([1000, 2000, 1000], [5, 20, 25]).drifted
    True
    """
    reference, current = pool_cells(reference_counts, current_counts, ordered=ordered, min_expected=min_expected)
    reference_rows, current_rows = int(reference.sum()), int(current.sum())
    if reference.size < 2:
        return DriftTestResult.not_comparable(reference_rows, current_rows, false_alarm_rate)
    statistic = population_stability_index(reference, current)
    degrees = reference.size - 1
    return DriftTestResult(
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic / _noise(reference_rows, current_rows), degrees)),
        threshold=psi_null_quantile(1 - false_alarm_rate, reference.size, reference_rows, current_rows),
        effect=unbiased_population_stability_index(reference, current),
        degrees_of_freedom=degrees,
        reference_rows=reference_rows,
        current_rows=current_rows,
        false_alarm_rate=false_alarm_rate,
    )


def _noise(reference_rows: float, current_rows: float) -> float:
    return 1 / reference_rows + 1 / current_rows


def _proportions(reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[Floats, Floats]:
    reference, current = drop_empty_cells(reference_counts, current_counts)
    reference = np.where(reference == 0, 0.5, reference)
    current = np.where(current == 0, 0.5, current)
    return reference / reference.sum(), current / current.sum()


def _psi(reference: Floats, current: Floats) -> float:
    return float(np.sum((current - reference) * np.log(current / reference)))
