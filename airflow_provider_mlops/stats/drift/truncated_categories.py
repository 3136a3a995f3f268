"""Comparison of categories if only the most frequent values of the reference were counted by name.

The list of values was taken from the reference. The reference's own counts of listed values are therefore too large,
and its count of all other values is too small: among values that are about equally frequent, those that happened to
occur more often were listed. A test that ignores this raises false alarms; with 200 reference rows and 40 values, in
half of all families of 30 features. The functions of this module leave out the comparison that is biased and keep all
others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.drift.cell_comparison import CellComparison, compare_cells
from airflow_provider_mlops.stats.drift.counts import validate_count_pair


def compare_truncated_categories(reference_counts: ArrayLike, current_counts: ArrayLike) -> CellComparison:
    """Compare listed values with a chi-square test that leaves out the contrast which the choice of the list biases.

    Values at the border of the list (`borderline_values`) are compared twice: together with all others, against the
    values that are clearly in the list; and with each other. Only the contrast between borderline values and other
    values is left out. Both the chi-square statistic and the PSI are sums over such a partition: Lancaster (1949), *The
    derivation and partition of chi-square in certain discrete distributions*, Biometrika 36(1/2).

    Parameters
    ----------
    reference_counts, current_counts
        Counts, shape `(values + 1,)`: each listed value, and all others in the last cell.

    Examples
    --------
    >>> comparison = compare_truncated_categories([500, 300, 200, 0], [40, 35, 25, 0])
    >>> round(comparison.statistic, 3), comparison.degrees_of_freedom
    (3.709, 2)
    """
    reference, current = validate_count_pair(reference_counts, current_counts)
    borderline = borderline_values(reference)
    clear = np.flatnonzero(~borderline[:-1])
    rest = np.flatnonzero(borderline)
    whole = compare_cells(
        *_rare_with_others(
            np.append(reference[clear], reference[rest].sum()), np.append(current[clear], current[rest].sum())
        ),
        ordered=False,
    )
    among = rest[:-1]
    weight = (_fraction(reference, among) + _fraction(current, among)) / 2
    if len(among) < 2 or not reference[among].sum() or not current[among].sum():
        return whole
    inner = compare_cells(reference[among], current[among], ordered=False)
    # Chance adds more to the counts of the rarest borderline values than to the others. That bias is at most about
    # the noise of a reference count, so the noise of the reference counts twice here.
    noise = 1 / reference[among].sum() + 1 / current[among].sum()
    doubled = noise + 1 / reference[among].sum()
    return CellComparison(
        whole.statistic + inner.statistic * noise / doubled,
        whole.degrees_of_freedom + inner.degrees_of_freedom,
        whole.psi + weight * inner.psi,
        whole.effect + weight * inner.effect,
    )


def borderline_values(reference_counts: ArrayLike, stds: float = 2.5) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the values that another reference of the same size might not have listed. The last cell is always marked.

    From the rarest listed value upwards, values are borderline until a count exceeds the next smaller one by more than
    the noise of their difference. The largest value that was not listed has at most the count of the rarest listed one,
    and at most that of all others together. If there are no others, the list is complete and no value is borderline.

    Parameters
    ----------
    reference_counts
        Counts, shape `(values + 1,)`, all other values in the last cell.
    stds
        Number of standard deviations of the difference of two counts that separate them.

    Examples
    --------
    >>> borderline_values([400, 210, 190, 200])
    array([False,  True,  True,  True])
    >>> borderline_values([400, 210, 190, 3])
    array([False, False, False,  True])
    """
    counts = np.asarray(reference_counts, dtype=np.float64)
    borderline = np.zeros(counts.size, dtype=bool)
    borderline[-1] = True
    others = counts[-1]
    if others == 0 or counts.size == 1:
        return borderline
    order = np.argsort(counts[:-1], kind="stable")
    below = min(float(counts[order[0]]), float(others))
    for value in order:
        if counts[value] - below > stds * np.sqrt(counts[value] + below):
            break
        borderline[value] = True
        below = float(counts[value])
    return borderline


def other_rows_shortfall(reference_counts: ArrayLike) -> int:
    """Estimate how many reference rows the other values lack because the list was taken from the reference.

    The estimate is two standard deviations of the count of each borderline value, plus the number of values with a
    single row, because that is how often the next row has a value that was never seen: Good (1953), *The population
    frequencies of species and the estimation of population parameters*, Biometrika 40(3/4). The values with two rows
    are added for the noise of that estimate, whose variance counts them twice: Esty (1983), *A normal limit law for a
    nonparametric estimator of the coverage of a random sample*, Annals of Statistics 11(3).

    Parameters
    ----------
    reference_counts
        Counts, shape `(values + 1,)`, all other values in the last cell.

    Examples
    --------
    >>> other_rows_shortfall([400, 210, 190, 0])
    0
    >>> other_rows_shortfall([400, 3, 2, 1, 0])
    2
    """
    counts = np.asarray(reference_counts, dtype=np.float64)
    listed = counts[:-1]
    borderline = borderline_values(counts)[:-1]
    shortfall = 2 * np.sqrt(listed[borderline]).sum() + np.count_nonzero(
        (listed[~borderline] == 1) | (listed[~borderline] == 2)
    )
    return int(min(np.ceil(shortfall), listed.sum()))


def _rare_with_others(reference: Floats, current: Floats) -> tuple[Floats, Floats]:
    """Move values that are too rare for a cell of their own into the last cell, which never loses its other values."""
    totals = reference + current
    rare = totals * min(reference.sum(), current.sum()) < 5.0 * totals.sum()
    rare[-1] = True
    return np.append(reference[~rare], reference[rare].sum()), np.append(current[~rare], current[rare].sum())


def _fraction(counts: Floats, cells: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
    return float(counts[cells].sum() / counts.sum())
