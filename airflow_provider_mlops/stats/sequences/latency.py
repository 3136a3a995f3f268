"""Confidence sequences for latencies, from the counts of a histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.rate import rate_bounds

Floats = NDArray[np.float64]


def slower_than(edges: ArrayLike, counts: ArrayLike, limit: float) -> tuple[int, int]:
    """How many requests took longer than a limit, and how many there were: the counts of a rate.

    "The 99 % quantile is below 50 ms" and "at most 1 % of the requests take longer than 50 ms" are the same statement,
    and the second one is about a rate: `rate_sequence` or `rate_difference_sequence` judge it.

    Parameters
    ----------
    edges
        Rising upper ends of the histogram's cells, of shape `(cells - 1,)`; the last cell has none. A request belongs
        to the first cell whose end it does not exceed, as in Prometheus.
    counts
        Requests of each cell, of shape `(cells,)`, not cumulated.
    limit
        One of the edges: between two of them the histogram does not know.

    >>> slower_than([10, 50, 100], [80, 15, 4, 1], 50)
    (5, 100)
    """
    ends, requests = checked_histogram(edges, counts)
    place = int(np.searchsorted(ends, limit))
    if place == ends.size or ends[place] != limit:
        raise ValueError(
            f"limit must be an edge of the histogram ({', '.join(f'{end:g}' for end in ends)}), not {limit}"
        )
    return int(requests[place + 1 :].sum()), int(requests.sum())


def quantile_sequence(
    edges: ArrayLike, counts: ArrayLike, quantile: float, *, confidence: float = 0.95, expected_n: float = 1000
) -> Interval:
    r"""Between which edges a quantile lies, at all times at once.

    Requests up to the true quantile :math:`Q(q)` come at the rate :math:`q`. An edge up to which there are so few that
    a rate of :math:`q` is out of the question lies below it, one with too many above. Only the rate at the true
    quantile has to be bounded, once and for all times, so that the number of edges costs nothing: Howard and Ramdas
    (2022), *Sequential estimation of quantiles with applications to A/B testing and best-arm identification*,
    Bernoulli 28(3), with the sequence of `rate_sequence`.

    Parameters
    ----------
    edges, counts
        As for `slower_than`.
    quantile
        Between 0 and 1.
    confidence, expected_n
        As for `rate_sequence`.

    Returns
    -------
    The last edge surely not above, and the first surely not below the quantile; 0 and infinity where none is.

    >>> quantile_sequence([10, 20, 50, 100], [500, 400, 80, 15, 5], 0.95)
    Interval(low=20.0, high=50.0)
    """
    ends, requests = checked_histogram(edges, counts)
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1, not {quantile}")
    total = requests.sum()
    if not total:
        return Interval(0.0, np.inf)
    within = np.cumsum(requests)[:-1]
    low, high = rate_bounds(within, np.full_like(within, total), confidence=confidence, expected_n=expected_n)
    below, above = ends[high < quantile], ends[low > quantile]
    return Interval(float(below[-1]) if below.size else 0.0, float(above[0]) if above.size else np.inf)


def checked_histogram(edges: ArrayLike, counts: ArrayLike) -> tuple[Floats, Floats]:
    """Edges and counts as floats.

    Raises
    ------
    ValueError
        If edges do not rise, a count is negative, or there is not one count more than edges.

    >>> checked_histogram([1, 2], [3, 4, 5])
    (array([1., 2.]), array([3., 4., 5.]))
    """
    ends, requests = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if ends.ndim != 1 or requests.shape != (ends.size + 1,):
        raise ValueError(f"a histogram needs one count more than edges, not {requests.shape} for {ends.shape}")
    if np.any(np.diff(ends) <= 0) or not np.all(np.isfinite(requests) & (requests >= 0)):
        raise ValueError("a histogram needs rising edges and counts that are not negative")
    return ends, requests
