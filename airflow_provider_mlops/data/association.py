"""Measures of association between two columns, from counts and moments that an engine has aggregated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, slots=True)
class Group:
    """The count, mean and population variance of a numeric column within one group of rows."""

    count: int
    mean: float
    variance: float


def merge(groups: Iterable[Group]) -> Group:
    """Return the count, mean and variance of all groups together (Chan, Golub and LeVeque 1979).

    >>> merge([Group(1, 1.0, 0.0), Group(1, 3.0, 0.0)])
    Group(count=2, mean=2.0, variance=1.0)
    """
    filled = [group for group in groups if group.count]
    count = sum(group.count for group in filled)
    if not count:
        return Group(0, 0.0, 0.0)
    mean = math.fsum(group.count * group.mean for group in filled) / count
    squares = math.fsum(group.count * (group.variance + (group.mean - mean) ** 2) for group in filled)
    return Group(count, mean, squares / count)


def correlation_ratio(groups: Sequence[Group]) -> float | None:
    """Return the correlation ratio η: the square root of the proportion of variance that is between the groups.

    η = sqrt(Σ nₖ (x̄ₖ - x̄)² / Σ (x - x̄)²) (Pearson 1905), from 0 to 1. None if the column is constant.

    >>> correlation_ratio([Group(2, 1.0, 0.0), Group(2, 3.0, 0.0)])
    1.0
    """
    total = merge(groups)
    # Rounding of the moments of a constant column leaves a variance that is tiny compared with the mean.
    if total.count == 0 or total.variance <= 1e-24 * total.mean**2 or total.variance == 0:
        return None
    between = math.fsum(group.count * (group.mean - total.mean) ** 2 for group in groups) / total.count
    return min(1.0, math.sqrt(between / total.variance))


def cramers_v(counts: Mapping[tuple[Any, Any], int]) -> float | None:
    """Return Cramér's V with Bergsma's bias correction, from 0 to 1, given the counts of pairs of categories.

    φ² = χ²/n is corrected to max(0, φ² - (k-1)(r-1)/(n-1)), and each table dimension k to k - (k-1)²/(n-1)
    (Bergsma 2013, Journal of the Korean Statistical Society 42). None if a column has a single category.

    >>> cramers_v({("a", 0): 500, ("b", 1): 500})
    1.0
    """
    row_totals: dict[Any, int] = {}
    column_totals: dict[Any, int] = {}
    for (row, column), count in counts.items():
        row_totals[row] = row_totals.get(row, 0) + count
        column_totals[column] = column_totals.get(column, 0) + count
    total = sum(row_totals.values())
    rows, columns = len(row_totals), len(column_totals)
    if rows < 2 or columns < 2 or total < 2:
        return None
    # χ² is Σ O²/E - n, to which only the pairs that occur contribute.
    chi_square = (
        math.fsum(
            total * count * count / (row_totals[row] * column_totals[column]) for (row, column), count in counts.items()
        )
        - total
    )
    phi = max(0.0, chi_square / total - (rows - 1) * (columns - 1) / (total - 1))
    smaller = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1))
    if smaller <= 1:
        return None
    return min(1.0, math.sqrt(phi / (smaller - 1)))


def area_under_curve(counts: Sequence[tuple[int, int]]) -> float | None:
    """Return the area under the ROC curve, given (negatives, positives) for each bin in order. A tie counts half.

    >>> area_under_curve([(3, 0), (0, 5)])
    1.0
    """
    negatives, positives = sum(pair[0] for pair in counts), sum(pair[1] for pair in counts)
    if not negatives or not positives:
        return None
    below, won = 0, 0.0
    for negative, positive in counts:
        won += positive * (below + negative / 2)
        below += negative
    return won / (negatives * positives)


def spearman(x: numpy.ndarray, y: numpy.ndarray) -> float | None:
    """Return Spearman's rank correlation of the pairs without NaN; None if `x` or `y` is constant.

    Ties get their average rank.
    """
    import numpy

    complete = ~(numpy.isnan(x) | numpy.isnan(y))
    if complete.sum() < 3:
        return None
    x_ranks, y_ranks = average_ranks(x[complete]), average_ranks(y[complete])
    x_ranks, y_ranks = x_ranks - x_ranks.mean(), y_ranks - y_ranks.mean()
    scale = math.sqrt(float(x_ranks @ x_ranks) * float(y_ranks @ y_ranks))
    return None if scale == 0 else max(-1.0, min(1.0, float(x_ranks @ y_ranks) / scale))


def average_ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Return the rank of each value, from 1. Equal values share their average rank.

    >>> import numpy
    >>> average_ranks(numpy.array([10.0, 20.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    import numpy

    _, places, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ranks: numpy.ndarray = (counts.cumsum() - (counts - 1) / 2)[places]
    return ranks
