"""Comparing categories of which only the reference's most frequent values were counted by name.

The list was read off the reference, so the reference's own counts of the listed values are too large and those of all
others too small: among values that are about equally frequent, those got onto the list that happened to come up more
often. A test that takes the list as given alarms without drift; with 200 reference rows and 40 values, in half of all
families of 30 features. What follows leaves out the comparison that is biased, and keeps all others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.drift.cell_comparison import CellComparison, compare_cells
from airflow_provider_mlops.stats.drift.counts import Counts, count_pair


def compare_listed_values(reference_counts: ArrayLike, current_counts: ArrayLike) -> CellComparison:
    r"""Chi-square comparison of listed values that leaves out the contrast which the choice of the list biases.

    Values on the margin of the list (`marginal_values`) are compared twice: together with all others, against the
    values that are clear of the margin; and among themselves. Only the contrast of marginal against other values is
    left out. The chi-square statistic and the PSI both are sums over such a partition: Lancaster (1949), *The
    derivation and partition of chi-square in certain discrete distributions*, Biometrika 36(1/2).

    Parameters
    ----------
    reference_counts, current_counts
        Counts of shape `(values + 1,)`: each listed value, and all others as the last.

    >>> found = compare_listed_values([500, 300, 200, 0], [40, 35, 25, 0])
    >>> round(found.statistic, 3), found.degrees_of_freedom
    (3.709, 2)
    """
    reference, current = count_pair(reference_counts, current_counts)
    marginal = marginal_values(reference)
    clear = np.flatnonzero(~marginal[:-1])
    rest = np.flatnonzero(marginal)
    whole = compare_cells(
        *_rare_with_others(
            np.append(reference[clear], reference[rest].sum()), np.append(current[clear], current[rest].sum())
        ),
        ordered=False,
    )
    among = rest[:-1]
    share = (_share(reference, among) + _share(current, among)) / 2
    if len(among) < 2 or not reference[among].sum() or not current[among].sum():
        return whole
    inner = compare_cells(reference[among], current[among], ordered=False)
    # The rarest of the marginal values owe more of their count to luck than the others. That bias is at most about
    # the noise of a reference count, so the noise of the reference counts twice here.
    noise = 1 / reference[among].sum() + 1 / current[among].sum()
    doubled = noise + 1 / reference[among].sum()
    return CellComparison(
        whole.statistic + inner.statistic * noise / doubled,
        whole.degrees_of_freedom + inner.degrees_of_freedom,
        whole.psi + share * inner.psi,
        whole.effect + share * inner.effect,
    )


def marginal_values(reference_counts: ArrayLike, deviations: float = 2.5) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which values another reference of the same size might not have listed; the last cell, of all others, always is.

    From the rarest listed value upwards, values are marginal until a count exceeds the next smaller one by more than
    the noise of their difference. The largest value that was not listed has at most the count of the rarest listed
    one, and at most that of all others together. Without others the list is complete, and no value is marginal.

    Parameters
    ----------
    reference_counts
        Of shape `(values + 1,)`, the last being all others.
    deviations
        Of the difference of two counts, that separate them.

    >>> marginal_values([400, 210, 190, 200])
    array([False,  True,  True,  True])
    >>> marginal_values([400, 210, 190, 3])
    array([False, False, False,  True])
    """
    counts = np.asarray(reference_counts, dtype=np.float64)
    marginal = np.zeros(counts.size, dtype=bool)
    marginal[-1] = True
    others = counts[-1]
    if others == 0 or counts.size == 1:
        return marginal
    order = np.argsort(counts[:-1], kind="stable")
    below = min(float(counts[order[0]]), float(others))
    for value in order:
        if counts[value] - below > deviations * np.sqrt(counts[value] + below):
            break
        marginal[value] = True
        below = float(counts[value])
    return marginal


def rows_owed_to_others(reference_counts: ArrayLike) -> int:
    """Reference rows that other values are short of because the list was read off the reference.

    Two deviations of the count of each marginal value. And as many as there are values with a single row, since that
    is how often the next row has a value that was never seen: Good (1953), *The population frequencies of species and
    the estimation of population parameters*, Biometrika 40(3/4). The values with two rows are added for the noise of
    that estimate, whose variance counts them twice: Esty (1983), *A normal limit law for a nonparametric estimator of
    the coverage of a random sample*, Annals of Statistics 11(3).

    Parameters
    ----------
    reference_counts
        Of shape `(values + 1,)`, the last being all others.

    >>> rows_owed_to_others([400, 210, 190, 0])
    0
    >>> rows_owed_to_others([400, 3, 2, 1, 0])
    2
    """
    counts = np.asarray(reference_counts, dtype=np.float64)
    listed = counts[:-1]
    marginal = marginal_values(counts)[:-1]
    owed = 2 * np.sqrt(listed[marginal]).sum() + np.count_nonzero((listed[~marginal] == 1) | (listed[~marginal] == 2))
    return int(min(np.ceil(owed), listed.sum()))


def _rare_with_others(reference: Counts, current: Counts) -> tuple[Counts, Counts]:
    """Put values too rare to stand alone into the last cell, which other values never leave, however many they are."""
    totals = reference + current
    rare = totals * min(reference.sum(), current.sum()) < 5.0 * totals.sum()
    rare[-1] = True
    return np.append(reference[~rare], reference[rare].sum()), np.append(current[~rare], current[rare].sum())


def _share(counts: Counts, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
    return float(counts[chosen].sum() / counts.sum())
