"""Bootstrap intervals of all metrics at once, and of their differences between models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_mlops.lifecycle.evaluate_metrics import Metric, Predictions, Problem, scorer
from airflow_provider_mlops.lifecycle.evaluation import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

_CELLS_AT_ONCE = 4_000_000
_SUBSETS = 20
_ROWS_TO_SUBSAMPLE = 10_000
_LEAST_SUBSET = 5_000
_LEFT_OUT = 300


@dataclass(frozen=True)
class Resampled:
    """The metrics of one model on all rows, on each of the resamples, and without single rows.

    :param rows: how many rows there are.
    :param estimates: by metric, on all rows; only what is defined there.
    :param resamples: by metric, of shape (resamples,); NaN where a resample does not define the metric.
    :param jackknife: by metric, of shape (rows left out,): the metric without one row. Empty for very many rows.
    """

    rows: int
    estimates: dict[str, float]
    resamples: dict[str, Floats]
    jackknife: dict[str, Floats]

    def intervals(self, confidence: float) -> dict[str, Interval]:
        """The interval of every metric."""
        return {
            name: interval(value, self.resamples[name], self.jackknife[name], self.rows, confidence)
            for name, value in self.estimates.items()
        }


def resample(
    problem: Problem,
    truth: NDArray[np.int64] | NDArray[np.float64],
    models: Sequence[Predictions],
    classes: int,
    *,
    resamples: int,
    seed: int,
) -> list[Resampled]:
    """Compute the metrics of several models on the same bootstrap resamples of the rows, so that they can be paired.

    Rows are drawn with replacement (Efron, 1979). Of more than ten thousand rows the resamples are drawn from twenty
    random subsets, each blown up to all rows' number: the bag of little bootstraps, whose intervals have the same
    width in the limit and cost a fraction (Kleiner, Talwalkar, Sarkar and Jordan, *A scalable bootstrap for massive
    data*, Journal of the Royal Statistical Society B 76, 2014).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    rows = len(truth)
    scorers = [scorer(problem, truth, model, classes) for model in models]
    estimates = [_finite(score(np.ones((1, rows)))) for score in scorers]
    left_out = np.sort(generator.choice(rows, min(rows, _LEFT_OUT), replace=False))
    if rows > _ROWS_TO_SUBSAMPLE:
        left_out = left_out[:0]
    jackknife = [
        {name: values[name] for name in estimate}
        for estimate, values in zip(estimates, (score(_without(left_out, rows)) for score in scorers), strict=True)
    ]
    drawn: list[list[dict[str, Floats]]] = [[] for _ in models]
    for subset, number in _subsets(rows, resamples, generator):
        if len(subset) < rows:
            scorers = [scorer(problem, truth[subset], model.take(subset), classes) for model in models]
        centres = [score(np.ones((1, len(subset)))) for score in scorers]
        for counts in _counts(rows, len(subset), number, generator):
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
        Resampled(rows, estimate, {name: np.concatenate([part[name] for part in parts]) for name in estimate}, without)
        for estimate, parts, without in zip(estimates, drawn, jackknife, strict=True)
    ]


def difference(metric: Metric, model: Resampled, other: Resampled, confidence: float) -> tuple[float, Interval]:
    """By how much the model is better than the other, and the interval of that, from the paired resamples.

    Both are positive where the model is better, whichever way the metric goes.
    """
    import numpy as np

    def gains(first: Floats, second: Floats) -> Floats:
        if metric.greater_is_better is None:
            return np.abs(second) - np.abs(first)
        return first - second if metric.greater_is_better else second - first

    name = metric.name
    gain = metric.gain(model.estimates[name], over=other.estimates[name])
    drawn = gains(model.resamples[name], other.resamples[name])
    without = gains(model.jackknife[name], other.jackknife[name])
    return gain, interval(gain, drawn, without, model.rows, confidence)


def interval(estimate: float, resamples: Floats, jackknife: Floats, rows: int, confidence: float) -> Interval:
    """The bias-corrected and accelerated interval, which always holds the estimate.

    It is the interval between two percentiles of the resamples, moved by their bias and skewness: Efron, *Better
    bootstrap confidence intervals*, Journal of the American Statistical Association 82, 1987. The skewness comes from
    leaving out single rows, and is taken as none where nothing was left out.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bootstrap import bca_probabilities

    finite = resamples[np.isfinite(resamples)]
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    corrected = bca_probabilities(tails, estimate, finite, _acceleration(jackknife, rows)) if len(finite) else None
    if corrected is None:
        return percentiles(resamples, estimate, confidence)
    low, high = np.quantile(finite, corrected)
    return min(float(low), estimate), max(float(high), estimate)


def percentiles(resamples: Floats, estimate: float, confidence: float) -> Interval:
    """The interval between the percentiles of the finite resamples, widened where it does not hold the estimate."""
    import numpy as np

    finite = resamples[np.isfinite(resamples)]
    if not len(finite):
        return estimate, estimate
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return min(float(low), estimate), max(float(high), estimate)


def _acceleration(jackknife: Floats, rows: int) -> float:
    import numpy as np

    values = jackknife[np.isfinite(jackknife)]
    if len(values) < 2:
        return 0.0
    influence = (rows - 1) * (values.mean() - values)
    spread = float(np.mean(influence**2)) / rows
    # What rounding leaves where no row has an influence is no skewness.
    if spread <= (1e-12 * max(1.0, float(np.abs(values).max()))) ** 2 * rows:
        return 0.0
    skewness: float = float(np.mean(influence**3)) / rows**2 / spread**1.5
    return skewness / 6


def _without(left_out: NDArray[np.int64], rows: int) -> Floats:
    import numpy as np

    counts = np.ones((len(left_out), rows))
    counts[np.arange(len(left_out)), left_out] = 0
    return counts


def _subsets(rows: int, resamples: int, generator: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The subsets of rows to resample, and how often each."""
    import numpy as np

    if rows <= _ROWS_TO_SUBSAMPLE:
        yield np.arange(rows), resamples
        return
    size = min(rows, max(_LEAST_SUBSET, math.ceil(rows**0.7)))
    for position in range(_SUBSETS):
        number = resamples // _SUBSETS + (position < resamples % _SUBSETS)
        if number:
            yield generator.choice(rows, size, replace=False, shuffle=False), number


def _counts(rows: int, size: int, number: int, generator: np.random.Generator) -> Iterator[Floats]:
    """How often each of `size` rows occurs in resamples of `rows` rows, some resamples at a time."""
    import numpy as np

    from airflow_provider_mlops.stats.resampling import counts_of_rows, draw_indices, strata_rows

    if rows == size:
        for indices in draw_indices(strata_rows(rows), number, generator):
            yield counts_of_rows(indices, rows)
        return
    at_once = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, number, at_once):
        shape = min(at_once, number - start)
        yield generator.multinomial(rows, np.full(size, 1 / size), size=shape).astype(np.float64)


def _finite(values: dict[str, Floats]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in values.items() if math.isfinite(value[0])}
