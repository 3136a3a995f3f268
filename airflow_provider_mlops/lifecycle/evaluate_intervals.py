"""Bootstrap intervals of metrics, and of differences of metrics between models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.evaluate_metrics import Metric, Predictions, Problem, scorer
from airflow_provider_mlops.lifecycle.evaluation import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS_AT_ONCE = 4_000_000
_SUBSETS = 20
_ROWS_TO_SUBSAMPLE = 10_000
_LEAST_SUBSET = 5_000


@dataclass(frozen=True)
class Resampled:
    """The metrics of one model on all rows, and on each of the resamples.

    :param estimates: by metric, on all rows; only what is defined there.
    :param resamples: by metric, of shape (resamples,); NaN where a resample does not define the metric.
    """

    estimates: dict[str, float]
    resamples: dict[str, NDArray[np.float64]]

    def intervals(self, confidence: float) -> dict[str, Interval]:
        """The percentile interval of every metric."""
        return {name: percentiles(self.resamples[name], value, confidence) for name, value in self.estimates.items()}


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
    once = np.ones((1, rows))
    estimates = [_finite(scorer(problem, truth, model, classes)(once)) for model in models]
    drawn: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in models]
    for subset, number in _subsets(rows, resamples, generator):
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
        Resampled(estimate, {name: np.concatenate([part[name] for part in parts]) for name in estimate})
        for estimate, parts in zip(estimates, drawn, strict=True)
    ]


def difference(metric: Metric, model: Resampled, other: Resampled, confidence: float) -> tuple[float, Interval]:
    """By how much the model is better than the other, and the interval of that, from the paired resamples.

    Both are positive where the model is better, whichever way the metric goes.
    """
    import numpy as np

    gain = metric.gain(model.estimates[metric.name], over=other.estimates[metric.name])
    first, second = model.resamples[metric.name], other.resamples[metric.name]
    if metric.greater_is_better is None:
        gains = np.abs(second) - np.abs(first)
    else:
        gains = first - second if metric.greater_is_better else second - first
    return gain, percentiles(gains, gain, confidence)


def percentiles(values: NDArray[np.float64], estimate: float, confidence: float) -> Interval:
    """The interval between the percentiles of the finite values; it always holds the estimate."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return estimate, estimate
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return min(float(low), estimate), max(float(high), estimate)


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


def _counts(rows: int, size: int, number: int, generator: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """How often each of `size` rows occurs in resamples of `rows` rows, some resamples at a time."""
    import numpy as np

    at_once = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, number, at_once):
        shape = min(at_once, number - start)
        if rows == size:
            drawn = generator.integers(size, size=(shape, size)) + np.arange(shape)[:, None] * size
            counts = np.bincount(drawn.ravel(), minlength=shape * size).reshape(shape, size)
        else:
            counts = generator.multinomial(rows, np.full(size, 1 / size), size=shape)
        yield counts.astype(np.float64)


def _finite(values: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in values.items() if math.isfinite(value[0])}
