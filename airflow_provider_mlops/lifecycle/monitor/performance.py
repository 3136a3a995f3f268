"""Whether a model does worse on labelled traffic than it did in its evaluation.

Both numbers are estimates: the evaluation's from its test rows, the window's from the rows for which a
label has come. The alarm therefore needs the interval of their *difference* to exclude zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric, ModelOutput, main_metric
from airflow_provider_mlops.lifecycle.scoring.scorers import score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation

_RESAMPLES = 1000


@dataclass(frozen=True)
class Performance:
    """A metric on labelled traffic beside the evaluation's.

    :param metric: its name.
    :param value: on the labelled rows of the window.
    :param interval: its confidence interval.
    :param expected: the evaluation's value; None if there is nothing to compare with.
    :param change: the interval of `value - expected`; None if there is nothing to compare with.
    :param rows: how many labelled rows there are.
    :param worse: whether the whole interval of the change lies on the worse side of zero.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    expected: float | None
    change: tuple[float, float] | None
    rows: int
    worse: bool


def compare(
    evaluation: Evaluation,
    metric: Metric,
    truth: NDArray[np.int64] | NDArray[np.float64],
    predictions: ModelOutput,
    false_alarm_rate: float,
    seed: int = 0,
) -> Performance | None:
    """The metric on the rows of the window against the evaluation's value. None if these rows do not define it.

    :param truth: of shape (rows,): class codes by `evaluation.classes`, or numbers.
    :param false_alarm_rate: the chance of `worse` when nothing has changed.
    """
    from airflow_provider_mlops.stats.intervals.bca import percentile_interval
    from airflow_provider_mlops.stats.intervals.difference import difference_interval
    from airflow_provider_mlops.stats.intervals.rescaled import rescaled_interval

    confidence = 1 - 2 * false_alarm_rate  # only one of the two sides is an alarm
    value = score(evaluation.problem, truth, predictions, len(evaluation.classes)).get(metric.name)
    if value is None:
        return None
    resampled = resample(
        evaluation.problem, truth, [predictions], len(evaluation.classes), resamples=_RESAMPLES, seed=seed
    )[0]
    # A thousand resamples say little about the quantiles far out that a small false alarm rate asks for.
    interval = percentile_interval(value, resampled.resamples[metric.name], 0.95)
    interval = rescaled_interval(value, interval, 0.95, confidence)
    expected = evaluation.metrics.get(metric.name)
    if expected is None:
        return Performance(metric.name, value, interval, None, None, len(truth), False)
    # Without an interval, the evaluation's value is taken as known exactly.
    evaluated = evaluation.intervals.get(metric.name, (expected, expected))
    reference = rescaled_interval(expected, evaluated, evaluation.confidence, confidence)
    change = difference_interval(value, interval, expected, reference)
    if metric.greater_is_better is None:
        # Neither sign is good: it got worse if it moved away from zero and not merely to the other side.
        worse = abs(value) > abs(expected) and (change[0] > 0 or change[1] < 0)
    else:
        worse = change[1] < 0 if metric.greater_is_better else change[0] > 0
    return Performance(metric.name, value, interval, expected, change, len(truth), bool(worse))


def choose_metric(evaluation: Evaluation, name: str | None, has_probability: bool) -> Metric:
    """The metric to watch: the named one, or the evaluation's main one. Raises InvalidSpecError."""
    if name is None:
        available = [m for m in evaluation.metrics if has_probability or not METRICS[m].needs_probability]
        return main_metric(evaluation.problem, available)
    known = [metric.name for metric in METRICS.values() if metric.problem == evaluation.problem]
    if name not in known:
        raise InvalidSpecError("performance_metric", name, f"for {evaluation.problem}, use one of {', '.join(known)}")
    metric = METRICS[name]
    if metric.needs_probability and not has_probability:
        raise InvalidSpecError(
            "performance_metric", name, "the gateway logs no probabilities for this model; use a metric of the classes"
        )
    return metric
