"""How many bins suit a sample, and fine bins put together to that many."""

from __future__ import annotations

import math
from collections.abc import Sequence


def suitable_bins(rows: int) -> int:
    r"""How many bins a chi-square test of so many rows should have: about n to the power of 2/5, and at least 4.

    Many bins on few rows leave the test blind. Mann and Wald (1942), *On the choice of the number of class intervals in
    the application of the chi square test*, Annals of Mathematical Statistics 13(3), have
    :math:`4 (2 (n-1)^2 / c^2)^{1/5}`, with the normal quantile :math:`c` of the level; half of that loses hardly any
    power: Williams (1950), *On the choice of the number and width of classes for the chi-square test of goodness of
    fit*, JASA 45(249). This is about a quarter of it: a shift or a wider spread, as drift mostly is, fills neighbouring
    bins alike, and is found the more often the fewer they are.

    Parameters
    ----------
    rows
        Of the smaller sample.

    >>> [suitable_bins(rows) for rows in (20, 143, 1000, 10_000)]
    [4, 7, 16, 40]
    """
    return max(4, round(math.pow(rows, 0.4)))


def merged_bins(counts: Sequence[int], at_most: int) -> list[tuple[int, int]]:
    """Neighbouring bins put together to at most so many, with about the same number of rows in each.

    Where the counts are those of a reference, the merged bins depend on it alone, so that a test of other rows in them
    stays honest.

    Parameters
    ----------
    counts
        Rows in each fine bin, of shape `(bins,)`.
    at_most
        How many merged bins there may be, at least 1.

    Returns
    -------
    Each merged bin as its first fine bin and the one behind its last.

    Raises
    ------
    ValueError
        If no bin is allowed.

    >>> merged_bins([10, 10, 10, 10, 10, 10], 3)
    [(0, 2), (2, 4), (4, 6)]
    >>> merged_bins([50, 1, 1, 1, 47], 2)
    [(0, 1), (1, 5)]
    """
    if at_most < 1:
        raise ValueError(f"at_most must be at least 1, not {at_most}")
    if len(counts) <= at_most:
        return [(place, place + 1) for place in range(len(counts))]
    groups: list[tuple[int, int]] = []
    start, left = 0, sum(counts)
    while start < len(counts):
        share = left / max(1, at_most - len(groups))
        end, taken = start + 1, counts[start]
        # The next bin joins if that brings the group nearer to its share.
        while end < len(counts) and (
            len(groups) == at_most - 1 or abs(taken + counts[end] - share) < abs(taken - share)
        ):
            taken += counts[end]
            end += 1
        groups.append((start, end))
        start, left = end, left - taken
    return groups
