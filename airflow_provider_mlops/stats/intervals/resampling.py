"""Bootstrap resamples, represented by how often each row is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats, Indices

CELLS_AT_ONCE = 4_000_000
"""Largest number of counts that are in memory at the same time."""

ROWS_TO_SUBSAMPLE = 10_000
"""Number of rows above which resamples are drawn from subsets of the rows."""

_SUBSETS = 20
_MIN_SUBSET_ROWS = 5_000


def draw_subsets(rows: int, resamples: int, generator: np.random.Generator) -> Iterator[tuple[Indices, int]]:
    """Yield the rows to draw resamples from, and the number of resamples to draw: all rows once, or twenty subsets.

    With more than `ROWS_TO_SUBSAMPLE` rows, a subset has n to the power of 0.7 rows, and at least 5,000. This is the
    bag of little bootstraps of Kleiner, Talwalkar, Sarkar and Jordan (2014), *A scalable bootstrap for massive data*,
    Journal of the Royal Statistical Society B 76(4).

    >>> [(len(chosen), number) for chosen, number in draw_subsets(3, 100, np.random.default_rng(0))]
    [(3, 100)]
    >>> {(len(chosen), number) for chosen, number in draw_subsets(10**6, 100, np.random.default_rng(0))}
    {(15849, 5)}
    """
    if rows <= ROWS_TO_SUBSAMPLE:
        yield np.arange(rows), resamples
        return
    size = min(rows, max(_MIN_SUBSET_ROWS, math.ceil(rows**0.7)))
    for position in range(_SUBSETS):
        number = resamples // _SUBSETS + (position < resamples % _SUBSETS)
        if number:
            yield generator.choice(rows, size, replace=False, shuffle=False), number


def draw_counts(rows: int, size: int, resamples: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Yield how often each of `size` rows occurs if `rows` are drawn from them with replacement, in batches.

    Efron (1979), *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7(1).

    Parameters
    ----------
    rows
        Number of rows of a resample.
    size
        Number of different rows to draw from: as many as `rows`, or those of a subset.
    resamples
        Total number of resamples.
    generator
        Source of randomness.

    Yields
    ------
    Floats
        Shape `(resamples of the batch, size)`; each row adds up to `rows`.

    Examples
    --------
    >>> [counts.sum(axis=1).tolist() for counts in draw_counts(5, 3, 2, np.random.default_rng(0))]
    [[5.0, 5.0]]
    """
    batch = max(1, CELLS_AT_ONCE // size)
    for start in range(0, resamples, batch):
        number = min(batch, resamples - start)
        if rows == size:
            yield count_rows(generator.integers(rows, size=(number, rows)), rows)
        else:
            yield generator.multinomial(rows, np.full(size, 1 / size), size=number).astype(np.float64)


def count_rows(indices: Indices, rows: int) -> Floats:
    """Count how often each row occurs in each resample.

    Parameters
    ----------
    indices
        Row numbers, shape `(resamples, drawn rows)`.
    rows
        Number of rows drawn from.

    Returns
    -------
    Floats
        Shape `(resamples, rows)`.

    Examples
    --------
    >>> count_rows(np.array([[0, 0, 2]]), 3)
    array([[2., 0., 1.]])
    """
    resamples = len(indices)
    flat = indices + np.arange(resamples, dtype=np.int64)[:, None] * rows
    return np.bincount(flat.ravel(), minlength=resamples * rows).reshape(resamples, rows).astype(np.float64)


def leave_one_out_counts(left_out: Indices, rows: int) -> Floats:
    """Return counts that leave out one row at a time, for the jackknife. Shape `(rows left out, rows)`.

    >>> leave_one_out_counts(np.array([0, 2]), 3)
    array([[0., 1., 1.],
           [1., 1., 0.]])
    """
    counts = np.ones((len(left_out), rows))
    counts[np.arange(len(left_out)), left_out] = 0
    return counts
