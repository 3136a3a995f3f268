"""The times at which requests are due."""

from __future__ import annotations

import random
from collections.abc import Iterator

from airflow_provider_mlops.serving.traffic.traffic import Traffic


def arrivals(traffic: Traffic) -> Iterator[float]:
    """Yield the times at which requests are due, in seconds from the start, up to the bounds of the traffic.

    >>> list(arrivals(Traffic("rows.parquet", "churn", rate=4, even=True, seconds=1)))
    [0.0, 0.25, 0.5, 0.75]
    >>> [round(due, 2) for due in arrivals(Traffic("rows.parquet", "churn", rate=4, requests=3))]
    [0.47, 0.82, 0.96]
    """
    chance = random.Random(traffic.seed)
    due = 0.0
    count = 0
    while traffic.requests is None or count < traffic.requests:
        # Multiplied, so that rounding errors do not add up over millions of requests.
        due = count / traffic.rate if traffic.even else due + chance.expovariate(traffic.rate)
        if traffic.seconds is not None and due >= traffic.seconds:
            return
        yield due
        count += 1


def expected(traffic: Traffic, rows: int) -> float | None:
    """Return the approximate number of requests for a dataset with `rows` rows; None if they never end.

    >>> expected(Traffic("rows.parquet", "churn", rate=10, seconds=5, rows=2), 70), expected(
    ...     Traffic("rows.parquet", "churn", repeat=True), 70
    ... )
    (35, None)
    """
    bounds = [
        None if traffic.repeat else -(-rows // traffic.rows),
        traffic.requests,
        None if traffic.seconds is None else traffic.rate * traffic.seconds,
    ]
    return min((bound for bound in bounds if bound is not None), default=None)
