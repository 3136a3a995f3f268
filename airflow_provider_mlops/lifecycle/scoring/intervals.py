"""Bootstrap intervals of all metrics at once, and of the differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.scoring.metrics import Metric, ModelOutput, Problem
from airflow_provider_mlops.lifecycle.scoring.scorers import scorer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics, Scorer
    from airflow_provider_mlops.stats.intervals.interval import Interval


def resample(
    problem: Problem,
    truth: NDArray[np.int64] | NDArray[np.float64],
    models: Sequence[ModelOutput],
    classes: int,
    *,
    resamples: int,
    seed: int,
) -> list[ResampledMetrics]:
    """Compute the metrics of several models on the same bootstrap resamples of the rows, so that they can be paired.

    Parameters
    ----------
    truth
        Shape (rows,): class codes, or numbers for regression.
    """
    from airflow_provider_mlops.stats.intervals import bootstrap

    def scorers_of(chosen: NDArray[np.int64] | None) -> list[Scorer]:
        if chosen is None:
            return [scorer(problem, truth, model, classes) for model in models]
        return [scorer(problem, truth[chosen], model.take(chosen), classes) for model in models]

    return bootstrap.resample(scorers_of, len(truth), resamples=resamples, seed=seed)


def difference(
    metric: Metric, model: ResampledMetrics, other: ResampledMetrics, confidence: float
) -> tuple[float, Interval]:
    """Return how much better the model is than the other, and the interval of this gain, from paired resamples.

    A gain is positive if the model is better, both for metrics where higher is better and where lower is better.
    """
    from airflow_provider_mlops.stats.paired.non_inferiority import paired_gain

    return paired_gain(model, other, metric.name, metric.greater_is_better, confidence)
