"""How strongly two columns go together, from counts and moments that an engine has aggregated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, slots=True)
class Group:
    """The count, mean and population variance of a number within one group of rows."""

    count: int
    mean: float
    variance: float


def merge(groups: Iterable[Group]) -> Group:
    """The moments of all groups taken together (Chan, Golub and LeVeque 1979).

    >>> merge([Group(1, 1.0, 0.0), Group(1, 3.0, 0.0)])
    Group(count=2, mean=2.0, variance=1.0)
    """
    held = [group for group in groups if group.count]
    count = sum(group.count for group in held)
    if not count:
        return Group(0, 0.0, 0.0)
    mean = math.fsum(group.count * group.mean for group in held) / count
    squares = math.fsum(group.count * (group.variance + (group.mean - mean) ** 2) for group in held)
    return Group(count, mean, squares / count)


def correlation_ratio(groups: Sequence[Group]) -> float | None:
    """The correlation ratio η: the root of the share of the variance that lies between the groups.

    η = sqrt(Σ nₖ (x̄ₖ - x̄)² / Σ (x - x̄)²) (Pearson 1905), from 0 to 1. None where the number is constant.

    >>> correlation_ratio([Group(2, 1.0, 0.0), Group(2, 3.0, 0.0)])
    1.0
    """
    whole = merge(groups)
    # Rounding of the moments of a constant column leaves a variance that is tiny beside the mean.
    if whole.count == 0 or whole.variance <= 1e-24 * whole.mean**2 or whole.variance == 0:
        return None
    between = math.fsum(group.count * (group.mean - whole.mean) ** 2 for group in groups) / whole.count
    return min(1.0, math.sqrt(between / whole.variance))


def cramers_v(counts: Mapping[tuple[Any, Any], int]) -> float | None:
    """Cramér's V with Bergsma's bias correction, from the counts of pairs of categories; 0 to 1.

    φ² = χ²/n is corrected to max(0, φ² - (k-1)(r-1)/(n-1)), and each table dimension k to k - (k-1)²/(n-1)
    (Bergsma 2013, Journal of the Korean Statistical Society 42). None where a side has a single category.

    >>> cramers_v({("a", 0): 500, ("b", 1): 500})
    1.0
    """
    left: dict[Any, int] = {}
    right: dict[Any, int] = {}
    for (one, other), count in counts.items():
        left[one] = left.get(one, 0) + count
        right[other] = right.get(other, 0) + count
    total = sum(left.values())
    rows, columns = len(left), len(right)
    if rows < 2 or columns < 2 or total < 2:
        return None
    # Σ O²/E - n is χ², and only the pairs that occur enter it.
    chi_square = math.fsum(total * n * n / (left[a] * right[b]) for (a, b), n in counts.items()) - total
    phi = max(0.0, chi_square / total - (rows - 1) * (columns - 1) / (total - 1))
    smaller = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1))
    if smaller <= 1:
        return None
    return min(1.0, math.sqrt(phi / (smaller - 1)))


def area_under_curve(counts: Sequence[tuple[int, int]]) -> float | None:
    """The area under the ROC curve of an ordered number, from (negatives, positives) per bin; a tie counts half.

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


def spearman(one: numpy.ndarray, other: numpy.ndarray) -> float | None:
    """Spearman's rank correlation where neither is NaN; ties get their average rank. None if constant."""
    import numpy

    both = ~(numpy.isnan(one) | numpy.isnan(other))
    if both.sum() < 3:
        return None
    left, right = average_ranks(one[both]), average_ranks(other[both])
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return None if scale == 0 else max(-1.0, min(1.0, float(left @ right) / scale))


def average_ranks(values: numpy.ndarray) -> numpy.ndarray:
    """The rank of each value, from 1; equal values share the average of theirs.

    >>> import numpy
    >>> average_ranks(numpy.array([10.0, 20.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    import numpy

    _, places, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ranks: numpy.ndarray = (counts.cumsum() - (counts - 1) / 2)[places]
    return ranks
