"""Pairs of count vectors: validation, and pooling of cells that are too small for a chi-square approximation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.arrays import Floats


def validate_count_pair(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Return two vectors of counts over the same cells as floats, after validation.

    Parameters
    ----------
    reference, current
        Finite counts that are not negative, both of shape `(cells,)`.

    Raises
    ------
    ValueError
        If the shapes differ or are not one-dimensional, or a count is negative or not finite.

    Examples
    --------
    >>> validate_count_pair([1, 2], [3, 4])
    (array([1., 2.]), array([3., 4.]))
    """
    first = np.asarray(reference, dtype=np.float64)
    second = np.asarray(current, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            "reference and current counts must be one-dimensional and of equal length, "
            f"got shapes {first.shape} and {second.shape}"
        )
    for name, counts in (("reference", first), ("current", second)):
        invalid = counts[~np.isfinite(counts) | (counts < 0)]
        if invalid.size:
            raise ValueError(f"{name} counts must be finite and not negative, got {invalid[0]}")
    return first, second


def drop_empty_cells(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Validate two vectors of counts, and return the cells that have rows in at least one sample.

    Raises
    ------
    ValueError
        If `validate_count_pair` does, or a sample has no rows.

    Examples
    --------
    >>> drop_empty_cells([1, 0, 2], [3, 0, 0])
    (array([1., 2.]), array([3., 0.]))
    """
    first, second = validate_count_pair(reference, current)
    if not first.sum() or not second.sum():
        raise ValueError(
            f"both samples must have rows, got {first.sum():g} reference rows and {second.sum():g} current rows"
        )
    present = first + second > 0
    return first[present], second[present]


def pool_cells(
    reference: ArrayLike, current: ArrayLike, *, ordered: bool, min_expected: float = 5.0
) -> tuple[Floats, Floats]:
    """Merge cells until each expects `min_expected` rows in the smaller of the two samples.

    Only the totals over both samples decide which cells merge. Given these totals the two samples are exchangeable if
    nothing has drifted, so pooling does not bias the test that follows.

    Parameters
    ----------
    reference, current
        Counts, shape `(cells,)`.
    ordered
        True merges adjacent cells, starting at the first; the remainder joins the last merged cell. False merges the
        rare cells with each other, and with the rarest frequent cell if that is not enough.
    min_expected
        Rows expected in the smaller sample without drift. Five is the customary minimum: Cochran (1954), *Some methods
        for strengthening the common chi-square tests*, Biometrics 10(4).

    Returns
    -------
    tuple of Floats
        Two vectors, shape `(merged cells,)`; a single cell if there are too few rows for two.

    Examples
    --------
    >>> pool_cells([90, 5, 5], [9, 1, 0], ordered=True, min_expected=1)
    (array([90., 10.]), array([9., 1.]))
    >>> pool_cells([50, 1, 49, 2], [5, 0, 4, 1], ordered=False, min_expected=4)
    (array([50., 52.]), array([5., 5.]))
    """
    first, second = validate_count_pair(reference, current)
    totals = first + second
    smaller = min(first.sum(), second.sum())
    if smaller == 0 or first.size == 0:
        return np.array([first.sum()]), np.array([second.sum()])
    needed = min_expected * totals.sum() / smaller
    labels = _merge_adjacent(totals, needed) if ordered else _merge_rare(totals, needed)
    cells = int(labels.max()) + 1
    return (
        np.bincount(labels, weights=first, minlength=cells).astype(np.float64),
        np.bincount(labels, weights=second, minlength=cells).astype(np.float64),
    )


def _merge_adjacent(totals: Floats, needed: float) -> NDArray[np.intp]:
    """Return the merged cell of each cell, for ordered cells."""
    labels = np.zeros(totals.size, dtype=np.intp)
    label, running = 0, 0.0
    for cell, total in enumerate(totals):
        labels[cell] = label
        running += total
        if running >= needed:
            label, running = label + 1, 0.0
    # What is left after the last full cell is too small for a cell of its own.
    return np.minimum(labels, max(label - 1, 0))


def _merge_rare(totals: Floats, needed: float) -> NDArray[np.intp]:
    """Return the merged cell of each cell, for unordered cells."""
    order = np.argsort(-totals, kind="stable")
    frequent = int(np.count_nonzero(totals >= needed))
    rare = float(totals[order[frequent:]].sum())
    ranks = np.arange(totals.size, dtype=np.intp)
    last = frequent if rare >= needed else max(frequent - 1, 0)
    labels = np.empty(totals.size, dtype=np.intp)
    labels[order] = np.minimum(ranks, last)
    return labels
