"""Confidence sequences for latencies, from the counts of a histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_open_unit_interval
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.rate import rate_bounds


def count_slower_than(edges: ArrayLike, counts: ArrayLike, limit: float) -> tuple[int, int]:
    """Count the requests that took longer than a limit, and all requests: the counts of a rate.

    "The 99 % quantile is below 50 ms" and "at most 1 % of the requests take longer than 50 ms" are the same statement,
    and the second one is about a rate: use `rate_sequence` or `rate_difference_sequence` for it.

    Parameters
    ----------
    edges
        Upper ends of the histogram's cells in ascending order, shape `(cells - 1,)`; the last cell has none. A request
        belongs to the first cell whose end it does not exceed, as in Prometheus.
    counts
        Requests of each cell, shape `(cells,)`, not cumulative.
    limit
        One of the edges, because the histogram does not resolve values between two edges.

    Examples
    --------
    >>> count_slower_than([10, 50, 100], [80, 15, 4, 1], 50)
    (5, 100)
    """
    ends, requests = validate_histogram(edges, counts)
    edge = int(np.searchsorted(ends, limit))
    if edge == ends.size or ends[edge] != limit:
        raise ValueError(
            f"limit must be one of the edges of the histogram ({', '.join(f'{end:g}' for end in ends)}), got {limit}"
        )
    return int(requests[edge + 1 :].sum()), int(requests.sum())


def quantile_sequence(
    edges: ArrayLike, counts: ArrayLike, quantile: float, *, confidence: float = 0.95, expected_n: float = 1000
) -> Interval:
    """Return the two edges that enclose a quantile, valid at all times at once.

    Requests up to the true quantile :math:`Q(q)` arrive at the rate :math:`q`. If so few requests are below an edge
    that a rate of :math:`q` is excluded, the edge is below the quantile; if too many are, it is above. Only the rate at
    the true quantile must be bounded, once for all times, so the number of edges does not matter: Howard and Ramdas
    (2022), *Sequential estimation of quantiles with applications to A/B testing and best-arm identification*, Bernoulli
    28(3), with the sequence of `rate_sequence`.

    Parameters
    ----------
    edges, counts
        As for `count_slower_than`.
    quantile
        Probability of the quantile, between 0 and 1.
    confidence, expected_n
        As for `rate_sequence`.

    Returns
    -------
    Interval
        The last edge that is certainly below the quantile and the first that is certainly above; 0 and infinity if
        there is none.

    Examples
    --------
    >>> quantile_sequence([10, 20, 50, 100], [500, 400, 80, 15, 5], 0.95)
    Interval(low=20.0, high=50.0)
    """
    ends, requests = validate_histogram(edges, counts)
    check_open_unit_interval(quantile=quantile)
    total = requests.sum()
    if not total:
        return Interval(0.0, np.inf)
    within = np.cumsum(requests)[:-1]
    low, high = rate_bounds(within, np.full_like(within, total), confidence=confidence, expected_n=expected_n)
    below, above = ends[high < quantile], ends[low > quantile]
    return Interval(float(below[-1]) if below.size else 0.0, float(above[0]) if above.size else np.inf)


def validate_histogram(edges: ArrayLike, counts: ArrayLike) -> tuple[Floats, Floats]:
    """Return edges and counts as floats, after validation.

    Raises
    ------
    ValueError
        If edges are not in ascending order, a count is negative, or there is not one count more than edges.

    Examples
    --------
    >>> validate_histogram([1, 2], [3, 4, 5])
    (array([1., 2.]), array([3., 4., 5.]))
    """
    ends, requests = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if ends.ndim != 1 or requests.shape != (ends.size + 1,):
        raise ValueError(f"counts must have one element more than edges, got shapes {requests.shape} and {ends.shape}")
    if np.any(np.diff(ends) <= 0) or not np.all(np.isfinite(requests) & (requests >= 0)):
        raise ValueError("edges must be in ascending order, and counts must be finite and not negative")
    return ends, requests
