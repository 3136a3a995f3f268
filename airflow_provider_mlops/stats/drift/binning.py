"""Number of bins that suits a sample, and merging of fine bins to that number."""

from __future__ import annotations

import math
from collections.abc import Sequence


def choose_bin_count(rows: int) -> int:
    """Return the number of bins for a chi-square test: about n to the power of 2/5, and at least 4.

    Many bins on few rows make the test insensitive. Mann and Wald (1942), *On the choice of the number of class
    intervals in the application of the chi square test*, Annals of Mathematical Statistics 13(3), use :math:`4 (2
    (n-1)^2 / c^2)^{1/5}`, with the normal quantile :math:`c` of the level; half of that loses hardly any power:
    Williams (1950), *On the choice of the number and width of classes for the chi-square test of goodness of fit*, JASA
    45(249). This function uses about a quarter of it: drift is mostly a shift or a wider spread, which changes adjacent
    bins in the same direction, and fewer bins detect that more often.

    Parameters
    ----------
    rows
        Number of rows of the smaller sample.

    Examples
    --------
    >>> [choose_bin_count(rows) for rows in (20, 143, 1000, 10_000)]
    [4, 7, 16, 40]
    """
    return max(4, round(math.pow(rows, 0.4)))


def merge_bins(counts: Sequence[int], max_bins: int) -> list[tuple[int, int]]:
    """Merge adjacent bins until at most `max_bins` are left, with about the same number of rows in each.

    If the counts are those of a reference, the merged bins depend on the reference only, so that a test of other rows
    in these bins stays valid.

    Parameters
    ----------
    counts
        Rows in each fine bin, shape `(bins,)`.
    max_bins
        Largest number of merged bins, at least 1.

    Returns
    -------
    list of tuple
        For each merged bin, the index of its first fine bin and the index after its last.

    Raises
    ------
    ValueError
        If `max_bins` is less than 1.

    Examples
    --------
    >>> merge_bins([10, 10, 10, 10, 10, 10], 3)
    [(0, 2), (2, 4), (4, 6)]
    >>> merge_bins([50, 1, 1, 1, 47], 2)
    [(0, 1), (1, 5)]
    """
    if max_bins < 1:
        raise ValueError(f"max_bins must be at least 1, got {max_bins}")
    if len(counts) <= max_bins:
        return [(index, index + 1) for index in range(len(counts))]
    groups: list[tuple[int, int]] = []
    start, left = 0, sum(counts)
    while start < len(counts):
        target = left / max(1, max_bins - len(groups))
        end, rows = start + 1, counts[start]
        # The next bin joins if that brings the group nearer to its target.
        while end < len(counts) and (
            len(groups) == max_bins - 1 or abs(rows + counts[end] - target) < abs(rows - target)
        ):
            rows += counts[end]
            end += 1
        groups.append((start, end))
        start, left = end, left - rows
    return groups
