"""The population stability index, and what it is when nothing has drifted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.drift.counts import Counts, count_pair, filled_pair, pool_cells
from airflow_provider_mlops.stats.drift.result import DriftTest


def population_stability_index(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""The symmetric relative entropy between two histograms over the same cells.

    .. math:: \mathrm{PSI} = \sum_i (q_i - p_i) \ln\frac{q_i}{p_i}

    with :math:`p` the shares of the reference and :math:`q` those of the current rows. It is Jeffreys' divergence:
    Kullback and Leibler (1951), *On information and sufficiency*, Annals of Mathematical Statistics 22(1).

    A cell that is empty on both sides is left out. A cell that is empty on one side counts half a row there, so
    that the index stays finite and shrinks as the sample that missed the cell shrinks. Counts that are
    proportional to each other therefore give exactly zero.

    Parameters
    ----------
    reference_counts, current_counts
        Counts of shape `(cells,)`, each with at least one row.

    Raises
    ------
    ValueError
        If either side has no rows, or the counts are not two non-negative vectors of one shape.

    >>> round(population_stability_index([100, 200, 100], [90, 180, 130]), 4)
    0.0276
    >>> population_stability_index([10, 20], [100, 200])
    0.0
    """
    return _index(*_shares(reference_counts, current_counts))


def unbiased_population_stability_index(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""PSI less what chance alone adds to it, and not below zero.

    Two samples of :math:`m` and :math:`n` rows from the same distribution over :math:`k` cells have
    :math:`E[\mathrm{PSI}] \approx (1/m + 1/n)(k - 1)`; see `psi_null_quantile`.

    Parameters
    ----------
    reference_counts, current_counts
        Counts of shape `(cells,)`, each with at least one row.

    >>> population_stability_index([500, 500], [26, 24]) > 0
    True
    >>> unbiased_population_stability_index([500, 500], [26, 24])
    0.0
    """
    reference, current = count_pair(reference_counts, current_counts)
    cells = int(np.count_nonzero(reference + current))
    index = population_stability_index(reference, current)
    return debiased_psi(index, cells, float(reference.sum()), float(current.sum()))


def debiased_psi(index: float, cells: int, reference_rows: float, current_rows: float) -> float:
    """A PSI over so many filled cells less what chance alone adds to it, and not below zero.

    >>> round(debiased_psi(0.1, cells=6, reference_rows=10_000, current_rows=100), 4)
    0.0495
    """
    return max(0.0, index - _chance(reference_rows, current_rows) * (cells - 1))


def psi_null_quantile(probability: float, cells: int, reference_rows: int, current_rows: int) -> float:
    r"""The PSI that two samples without drift stay below with the given probability.

    .. math:: \mathrm{PSI} \;\sim\; \left(\tfrac1m + \tfrac1n\right)\,\chi^2_{k-1}

    Yurdakul and Naranjo (2020), *Statistical properties of the population stability index*, Journal of Risk Model
    Validation 14(4). The usual fixed level of 0.1 is crossed by nearly every sample of 50 rows.

    Parameters
    ----------
    probability
        Between 0 and 1; one minus the false alarm rate.
    cells
        Cells of the histogram, at least 2.
    reference_rows, current_rows
        Rows on either side, at least 1.

    >>> round(psi_null_quantile(0.99, cells=10, reference_rows=100_000, current_rows=50), 2)
    0.43
    >>> round(psi_null_quantile(0.99, cells=10, reference_rows=100_000, current_rows=50_000), 4)
    0.0006
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie between 0 and 1, not {probability}")
    if cells < 2 or reference_rows < 1 or current_rows < 1:
        raise ValueError("two cells and a row on either side are the least")
    return float(_chance(reference_rows, current_rows) * stats.chi2.ppf(probability, cells - 1))


def psi_test(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    *,
    false_alarm_rate: float = 0.01,
    ordered: bool = True,
    min_expected: float = 5.0,
) -> DriftTest:
    """Whether a PSI is larger than two samples of these sizes give by chance.

    Cells are pooled first (`pool_cells`), since the null distribution holds only where each cell expects some rows.
    With fewer than two cells left nothing can be compared: statistic 0, p value 1, an infinite threshold.

    Parameters
    ----------
    reference_counts, current_counts, false_alarm_rate, ordered, min_expected
        As for `chi_square_test`.

    Returns
    -------
    `DriftTest` with the PSI of the pooled cells as statistic and its unbiased value as effect.

    >>> same = psi_test([1000, 2000, 1000], [12, 25, 13])
    >>> same.drifted, round(same.threshold, 2)
    (False, 0.19)
    >>> psi_test([1000, 2000, 1000], [5, 20, 25]).drifted
    True
    """
    reference, current = pool_cells(reference_counts, current_counts, ordered=ordered, min_expected=min_expected)
    reference_rows, current_rows = int(reference.sum()), int(current.sum())
    if reference.size < 2:
        return DriftTest.of_nothing(reference_rows, current_rows, false_alarm_rate)
    statistic = population_stability_index(reference, current)
    degrees = reference.size - 1
    return DriftTest(
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic / _chance(reference_rows, current_rows), degrees)),
        threshold=psi_null_quantile(1 - false_alarm_rate, reference.size, reference_rows, current_rows),
        effect=unbiased_population_stability_index(reference, current),
        degrees_of_freedom=degrees,
        reference_rows=reference_rows,
        current_rows=current_rows,
        false_alarm_rate=false_alarm_rate,
    )


def _chance(reference_rows: float, current_rows: float) -> float:
    return 1 / reference_rows + 1 / current_rows


def _shares(reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[Counts, Counts]:
    reference, current = filled_pair(reference_counts, current_counts)
    reference = np.where(reference == 0, 0.5, reference)
    current = np.where(current == 0, 0.5, current)
    return reference / reference.sum(), current / current.sum()


def _index(reference: Counts, current: Counts) -> float:
    return float(np.sum((current - reference) * np.log(current / reference)))
