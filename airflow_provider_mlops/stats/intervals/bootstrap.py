"""Bootstrap resamples of many metrics at once, for one model or for several models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats, Indices
from airflow_provider_mlops.stats.intervals.bca import bca_interval
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.intervals.resampling import (
    ROWS_TO_SUBSAMPLE,
    draw_counts,
    draw_subsets,
    leave_one_out_counts,
)

Scorer = Callable[[Floats], Mapping[str, Floats]]
"""A function that takes how often each row counts, shape `(resamples, rows)`, and returns every metric by its name,
shape `(resamples,)`, with NaN for resamples that do not define it."""

_JACKKNIFE_ROWS = 300


@dataclass(frozen=True, eq=False)
class ResampledMetrics:
    """The metrics of one model: on all rows, on each resample, and without single rows.

    Parameters
    ----------
    rows
        Number of rows.
    estimates
        Each metric on all rows; only metrics that are defined there.
    resamples
        Each metric on the resamples, shape `(resamples,)`; NaN if a resample does not define it.
    jackknife
        Each metric without one row, shape `(rows left out,)`; empty if there are more rows than `ROWS_TO_SUBSAMPLE`.
    """

    rows: int
    estimates: dict[str, float]
    resamples: dict[str, Floats]
    jackknife: dict[str, Floats]

    def interval(self, metric: str, confidence: float) -> Interval:
        """Return the BCa interval of one metric."""
        return bca_interval(
            self.estimates[metric], self.resamples[metric], self.jackknife[metric], self.rows, confidence
        )

    def intervals(self, confidence: float) -> dict[str, tuple[float, float]]:
        """Return the BCa interval of every metric by its name."""
        return {name: self.interval(name, confidence) for name in self.estimates}


def resample(
    scorers_of: Callable[[Indices | None], Sequence[Scorer]], rows: int, *, resamples: int = 1000, seed: int = 0
) -> list[ResampledMetrics]:
    """Compute the metrics of several models on the same bootstrap resamples, so that the models can be paired.

    Rows are drawn with replacement (Efron, 1979). With more than ten thousand rows, resamples are drawn from twenty
    random subsets, each scaled up to the number of all rows. This is the bag of little bootstraps: its intervals have
    the same width in the limit at a fraction of the cost (see `draw_subsets`).

    Parameters
    ----------
    scorers_of
        Function that returns one scorer per model for the rows with the given numbers, or for all rows if it is given
        None.
    rows
        Number of rows.
    resamples
        Number of resamples: 1000 for an interval, more for confidence levels above 99 %.
    seed
        Seed of the random numbers. The same seed and number of rows give the same resamples.

    Raises
    ------
    ValueError
        If there are no rows, or fewer than two resamples are requested.

    Examples
    --------
    >>> values = np.arange(100.0)
    >>> def mean(counts):
    ...     return {"mean": counts @ values / counts.sum(axis=1)}
    >>> (metrics,) = resample(lambda chosen: [mean], 100)
    >>> low, high = metrics.interval("mean", 0.95)
    >>> metrics.estimates, low < 49.5 < high
    ({'mean': 49.5}, True)
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}")
    generator = np.random.default_rng(seed)
    scorers = scorers_of(None)
    estimates = [_finite(score(np.ones((1, rows)))) for score in scorers]
    left_out = np.sort(generator.choice(rows, min(rows, _JACKKNIFE_ROWS), replace=False))
    if rows > ROWS_TO_SUBSAMPLE:
        left_out = left_out[:0]
    without = [score(leave_one_out_counts(left_out, rows)) for score in scorers]
    drawn: list[list[dict[str, Floats]]] = [[] for _ in scorers]
    for subset, number in draw_subsets(rows, resamples, generator):
        if len(subset) < rows:
            scorers = scorers_of(subset)
        centers = [score(np.ones((1, len(subset)))) for score in scorers]
        for counts in draw_counts(rows, len(subset), number, generator):
            for position, score in enumerate(scorers):
                values = score(counts)
                # A subset has its own center; it tells how far resamples are from that center.
                drawn[position].append(
                    {
                        name: values[name] - centers[position][name][0] + estimate
                        for name, estimate in estimates[position].items()
                    }
                )
    return [
        ResampledMetrics(
            rows,
            estimate,
            {name: np.concatenate([part[name] for part in parts]) for name in estimate},
            {name: jackknife[name] for name in estimate},
        )
        for estimate, parts, jackknife in zip(estimates, drawn, without, strict=True)
    ]


def _finite(values: Mapping[str, Floats]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in values.items() if math.isfinite(value[0])}
