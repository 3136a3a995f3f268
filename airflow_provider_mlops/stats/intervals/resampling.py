"""Drawing bootstrap resamples of rows, as how often each row counts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]

CELLS_AT_ONCE = 4_000_000
"""How many numbers of resamples are held in memory at a time."""

ROWS_TO_SUBSAMPLE = 10_000
"""With more rows than these, resamples are drawn from subsets of the rows."""

_SUBSETS = 20
_LEAST_SUBSET = 5_000


def draw_subsets(rows: int, resamples: int, generator: np.random.Generator) -> Iterator[tuple[Indices, int]]:
    """The rows to draw resamples from, and how many resamples: all rows at once, or twenty subsets in turn.

    Of more than `ROWS_TO_SUBSAMPLE` rows, n to the power of 0.7 make a subset, and 5,000 at least. That is the bag of
    little bootstraps of Kleiner, Talwalkar, Sarkar and Jordan (2014), *A scalable bootstrap for massive data*, Journal
    of the Royal Statistical Society B 76(4).

    >>> [(len(chosen), number) for chosen, number in draw_subsets(3, 100, np.random.default_rng(0))]
    [(3, 100)]
    >>> {(len(chosen), number) for chosen, number in draw_subsets(10**6, 100, np.random.default_rng(0))}
    {(15849, 5)}
    """
    if rows <= ROWS_TO_SUBSAMPLE:
        yield np.arange(rows), resamples
        return
    size = min(rows, max(_LEAST_SUBSET, math.ceil(rows**0.7)))
    for position in range(_SUBSETS):
        number = resamples // _SUBSETS + (position < resamples % _SUBSETS)
        if number:
            yield generator.choice(rows, size, replace=False, shuffle=False), number


def draw_counts(rows: int, size: int, resamples: int, generator: np.random.Generator) -> Iterator[Floats]:
    """How often each of `size` rows occurs when `rows` are drawn from them with replacement, some resamples at a time.

    Efron (1979), *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7(1).

    Parameters
    ----------
    rows
        How many rows a resample has.
    size
        How many different rows there are: as many, or those of a subset.
    resamples
        How many, in total.
    generator
        Source of randomness.

    Yields
    ------
    Arrays of shape `(some resamples, size)`, each row of which adds up to `rows`.

    >>> [counts.sum(axis=1).tolist() for counts in draw_counts(5, 3, 2, np.random.default_rng(0))]
    [[5.0, 5.0]]
    """
    at_once = max(1, CELLS_AT_ONCE // size)
    for start in range(0, resamples, at_once):
        number = min(at_once, resamples - start)
        if rows == size:
            yield counts_of_rows(generator.integers(rows, size=(number, rows)), rows)
        else:
            yield generator.multinomial(rows, np.full(size, 1 / size), size=number).astype(np.float64)


def counts_of_rows(indices: Indices, rows: int) -> Floats:
    """How often each row occurs in each resample.

    Parameters
    ----------
    indices
        Row numbers, of shape `(resamples, drawn rows)`.
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


def counts_without(left_out: Indices, rows: int) -> Floats:
    """Every row once, but for one that is left out each time: the jackknife. Of shape `(rows left out, rows)`.

    >>> counts_without(np.array([0, 2]), 3)
    array([[0., 1., 1.],
           [1., 1., 0.]])
    """
    counts = np.ones((len(left_out), rows))
    counts[np.arange(len(left_out)), left_out] = 0
    return counts
