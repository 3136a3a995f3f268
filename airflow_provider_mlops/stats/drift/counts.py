"""Pairs of count vectors: checking them, and pooling cells too small for a chi-square approximation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.float64]


def count_pair(reference: ArrayLike, current: ArrayLike) -> tuple[Counts, Counts]:
    """Two vectors of counts over the same cells, as floats.

    Parameters
    ----------
    reference, current
        Non-negative finite counts, both of shape `(cells,)`.

    Raises
    ------
    ValueError
        If the shapes differ, are not one-dimensional, or a count is negative or not finite.

    >>> count_pair([1, 2], [3, 4])
    (array([1., 2.]), array([3., 4.]))
    """
    first = np.asarray(reference, dtype=np.float64)
    second = np.asarray(current, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"counts must be two vectors over the same cells, not of shapes {first.shape}, {second.shape}")
    for name, counts in (("reference", first), ("current", second)):
        if not np.all(np.isfinite(counts)) or np.any(counts < 0):
            raise ValueError(f"{name} counts must be finite and not negative")
    return first, second


def filled_pair(reference: ArrayLike, current: ArrayLike) -> tuple[Counts, Counts]:
    """The cells of `count_pair` that have a row on either side.

    Raises
    ------
    ValueError
        As `count_pair` does, and if a side has no rows.

    >>> filled_pair([1, 0, 2], [3, 0, 0])
    (array([1., 2.]), array([3., 0.]))
    """
    first, second = count_pair(reference, current)
    if not first.sum() or not second.sum():
        raise ValueError("there must be rows on both sides")
    present = first + second > 0
    return first[present], second[present]


def pool_cells(
    reference: ArrayLike, current: ArrayLike, *, ordered: bool, min_expected: float = 5.0
) -> tuple[Counts, Counts]:
    """Merge cells until each expects `min_expected` rows in the smaller of the two samples.

    Which cells merge depends only on the totals over both samples. Given those totals the two samples are
    exchangeable when nothing has drifted, so pooling does not bias the test that follows.

    Parameters
    ----------
    reference, current
        Counts of shape `(cells,)`.
    ordered
        True merges neighbours, from the first cell on, the remainder going to the last merged cell. False merges
        the rare cells with each other, and with the rarest frequent one if that is not enough.
    min_expected
        Rows expected in the smaller sample under no drift. Five is the customary least: Cochran (1954), *Some
        methods for strengthening the common chi-square tests*, Biometrics 10(4).

    Returns
    -------
    Two vectors of shape `(merged cells,)`; a single cell when the rows do not suffice for two.

    >>> pool_cells([90, 5, 5], [9, 1, 0], ordered=True, min_expected=1)
    (array([90., 10.]), array([9., 1.]))
    >>> pool_cells([50, 1, 49, 2], [5, 0, 4, 1], ordered=False, min_expected=4)
    (array([50., 52.]), array([5., 5.]))
    """
    first, second = count_pair(reference, current)
    totals = first + second
    smaller = min(first.sum(), second.sum())
    if smaller == 0 or first.size == 0:
        return np.array([first.sum()]), np.array([second.sum()])
    needed = min_expected * totals.sum() / smaller
    labels = _neighbours(totals, needed) if ordered else _rare_together(totals, needed)
    cells = int(labels.max()) + 1
    return (
        np.bincount(labels, weights=first, minlength=cells).astype(np.float64),
        np.bincount(labels, weights=second, minlength=cells).astype(np.float64),
    )


def _neighbours(totals: Counts, needed: float) -> NDArray[np.intp]:
    """The merged cell each cell goes to, for ordered cells."""
    labels = np.zeros(totals.size, dtype=np.intp)
    label, running = 0, 0.0
    for cell, total in enumerate(totals):
        labels[cell] = label
        running += total
        if running >= needed:
            label, running = label + 1, 0.0
    # What is left after the last full cell is too small to stand alone.
    return np.minimum(labels, max(label - 1, 0))


def _rare_together(totals: Counts, needed: float) -> NDArray[np.intp]:
    """The merged cell each cell goes to, for unordered cells."""
    order = np.argsort(-totals, kind="stable")
    frequent = int(np.count_nonzero(totals >= needed))
    rare = float(totals[order[frequent:]].sum())
    ranks = np.arange(totals.size, dtype=np.intp)
    last = frequent if rare >= needed else max(frequent - 1, 0)
    labels = np.empty(totals.size, dtype=np.intp)
    labels[order] = np.minimum(ranks, last)
    return labels
