"""Bootstrap resamples of many metrics at once, of one or of several models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.stats.intervals.bca import bca_interval
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.intervals.resampling import (
    ROWS_TO_SUBSAMPLE,
    Indices,
    counts_without,
    draw_counts,
    draw_subsets,
)

Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Mapping[str, Floats]]
"""Takes how often each row counts, of shape `(resamples, rows)`, and returns every metric, of shape `(resamples,)`, NaN
where it is not defined."""

_LEFT_OUT = 300


@dataclass(frozen=True, eq=False)
class Resampled:
    """The metrics of one model on all rows, on each of the resamples, and without single rows.

    Parameters
    ----------
    rows
        How many rows there are.
    estimates
        By metric, on all rows; only what is defined there.
    resamples
        By metric, of shape `(resamples,)`; NaN where a resample does not define the metric.
    jackknife
        By metric, of shape `(rows left out,)`: the metric without one row. Empty for very many rows.
    """

    rows: int
    estimates: dict[str, float]
    resamples: dict[str, Floats]
    jackknife: dict[str, Floats]

    def interval(self, metric: str, confidence: float) -> Interval:
        """The interval of one metric."""
        return bca_interval(
            self.estimates[metric], self.resamples[metric], self.jackknife[metric], self.rows, confidence
        )

    def intervals(self, confidence: float) -> dict[str, tuple[float, float]]:
        """The interval of every metric."""
        return {name: self.interval(name, confidence) for name in self.estimates}


def resample(
    scorers_of: Callable[[Indices | None], Sequence[Scorer]], rows: int, *, resamples: int = 1000, seed: int = 0
) -> list[Resampled]:
    """Compute the metrics of several models on the same bootstrap resamples of the rows, so that they can be paired.

    Rows are drawn with replacement (Efron, 1979). Of more than ten thousand rows the resamples are drawn from twenty
    random subsets, each blown up to all rows' number: the bag of little bootstraps, whose intervals have the same
    width in the limit and cost a fraction (see `draw_subsets`).

    Parameters
    ----------
    scorers_of
        Makes one scorer for each model, for some of the rows by their numbers, or for all rows if it is given None.
    rows
        Number of rows.
    resamples
        Number of resamples. 1000 for an interval, more for tails beyond 99 %.
    seed
        Same seed and number of rows, same resamples.

    Raises
    ------
    ValueError
        If there are no rows, or fewer than two resamples are asked for.

    >>> values = np.arange(100.0)
    >>> def mean(counts):
    ...     return {"mean": counts @ values / counts.sum(axis=1)}
    >>> (found,) = resample(lambda chosen: [mean], 100)
    >>> low, high = found.interval("mean", 0.95)
    >>> found.estimates, low < 49.5 < high
    ({'mean': 49.5}, True)
    """
    if rows < 1:
        raise ValueError("there are no rows to resample")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, not {resamples}")
    generator = np.random.default_rng(seed)
    scorers = scorers_of(None)
    estimates = [_finite(score(np.ones((1, rows)))) for score in scorers]
    left_out = np.sort(generator.choice(rows, min(rows, _LEFT_OUT), replace=False))
    if rows > ROWS_TO_SUBSAMPLE:
        left_out = left_out[:0]
    without = [score(counts_without(left_out, rows)) for score in scorers]
    drawn: list[list[dict[str, Floats]]] = [[] for _ in scorers]
    for subset, number in draw_subsets(rows, resamples, generator):
        if len(subset) < rows:
            scorers = scorers_of(subset)
        centres = [score(np.ones((1, len(subset)))) for score in scorers]
        for counts in draw_counts(rows, len(subset), number, generator):
            for position, score in enumerate(scorers):
                values = score(counts)
                # A subset has its own centre; what is learnt from it is how far resamples stray from that.
                drawn[position].append(
                    {
                        name: values[name] - centres[position][name][0] + estimate
                        for name, estimate in estimates[position].items()
                    }
                )
    return [
        Resampled(
            rows,
            estimate,
            {name: np.concatenate([part[name] for part in parts]) for name in estimate},
            {name: jackknife[name] for name in estimate},
        )
        for estimate, parts, jackknife in zip(estimates, drawn, without, strict=True)
    ]


def _finite(values: Mapping[str, Floats]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in values.items() if math.isfinite(value[0])}
