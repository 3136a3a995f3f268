"""Drawing bootstrap resamples of row numbers, plain or by stratum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]

CELLS_AT_ONCE = 4_000_000
"""How many numbers of resamples are held in memory at a time."""


def strata_rows(rows: int, strata: ArrayLike | None = None) -> list[Indices]:
    """The row numbers of each stratum; one stratum of all rows if `strata` is None.

    Parameters
    ----------
    rows
        Number of rows, at least 1.
    strata
        A label for each row, of shape `(rows,)`.

    Raises
    ------
    ValueError
        If there are no rows, or not one label for each.

    >>> strata_rows(4, ["a", "b", "a", "b"])
    [array([0, 2]), array([1, 3])]
    """
    if rows < 1:
        raise ValueError("there are no rows to resample")
    if strata is None:
        return [np.arange(rows, dtype=np.int64)]
    labels = np.asarray(strata)
    if labels.shape != (rows,):
        raise ValueError(f"strata must have one label for each of {rows} rows, not the shape {labels.shape}")
    _, codes = np.unique(labels, return_inverse=True)
    order = np.argsort(codes, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def draw_indices(groups: list[Indices], resamples: int, generator: np.random.Generator) -> Iterator[Indices]:
    """Row numbers drawn with replacement within each group, some resamples at a time.

    Efron (1979), *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7(1), section 2.

    Parameters
    ----------
    groups
        Of `strata_rows`. Every resample has as many rows of each group as the group.
    resamples
        How many, in total.
    generator
        Source of randomness.

    Yields
    ------
    Arrays of shape `(some resamples, rows)`.

    >>> batches = draw_indices(strata_rows(3), 2, np.random.default_rng(0))
    >>> [batch.shape for batch in batches]
    [(2, 3)]
    """
    rows = sum(group.size for group in groups)
    at_once = max(1, CELLS_AT_ONCE // rows)
    for start in range(0, resamples, at_once):
        shape = min(at_once, resamples - start)
        yield np.concatenate(
            [group[generator.integers(group.size, size=(shape, group.size))] for group in groups], axis=1
        )


def counts_of_rows(indices: Indices, rows: int) -> NDArray[np.float64]:
    """How often each row occurs in each resample: the resample as weights.

    Parameters
    ----------
    indices
        Of shape `(resamples, drawn rows)`.
    rows
        Number of rows drawn from.

    Returns
    -------
    Of shape `(resamples, rows)`.

    >>> counts_of_rows(np.array([[0, 0, 2]]), 3)
    array([[2., 0., 1.]])
    """
    resamples = len(indices)
    places = indices + np.arange(resamples, dtype=np.int64)[:, None] * rows
    return np.bincount(places.ravel(), minlength=resamples * rows).reshape(resamples, rows).astype(np.float64)
