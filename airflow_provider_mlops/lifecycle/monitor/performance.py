"""Compare a model's performance on labeled traffic with its evaluation.

Both numbers are estimates: the evaluation's from its test rows, the window's from the rows that have a label. An alarm
therefore requires that the interval of their *difference* excludes zero.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.monitor.window import PROBABILITY
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric, ModelOutput, main_metric
from airflow_provider_mlops.lifecycle.scoring.rows import label_text
from airflow_provider_mlops.lifecycle.scoring.scorers import score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.lifecycle.monitor.window import Window
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation

log = logging.getLogger(__name__)

_RESAMPLES = 1000


@dataclass(frozen=True)
class LabeledRows:
    """The labels of a window and their predictions, in the form of the metrics.

    Parameters
    ----------
    truth
        Shape (rows,): class codes as in `evaluation.classes`, or numbers for regression.
    has_probabilities
        Whether the gateway logged probabilities.
    """

    truth: NDArray[np.int64] | NDArray[np.float64]
    predictions: ModelOutput
    has_probabilities: bool


@dataclass(frozen=True)
class Performance:
    """A metric on labeled traffic, compared with the evaluation.

    Parameters
    ----------
    metric
        Name of the metric.
    value, interval
        Value on the labeled rows of the window, and its confidence interval.
    expected
        Value in the evaluation; None if the evaluation does not have the metric.
    change
        Interval of `value - expected`; None if there is no expected value.
    rows
        Number of labeled rows.
    worse
        Whether the whole interval of the change is on the worse side of zero.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    expected: float | None
    change: tuple[float, float] | None
    rows: int
    worse: bool


def read_labels(window: Window, evaluation: Evaluation) -> LabeledRows:
    """Read the labels and the predictions of the labeled rows, without classes that the evaluation does not know."""
    import numpy as np

    rows, has_probabilities = window.labeled(), bool(window.classes)
    if evaluation.problem == "regression":
        truth = rows["label"].to_numpy().astype(np.float64)
        return LabeledRows(truth, ModelOutput(rows["output"].to_numpy().astype(np.float64)), has_probabilities)
    codes = {name: code for code, name in enumerate(evaluation.classes)}
    labels = np.array([codes.get(label_text(value), -1) for value in rows["label"].to_pylist()], dtype=np.int64)
    outputs = np.array([codes.get(label_text(value), -1) for value in rows["output"].to_pylist()], dtype=np.int64)
    known = (labels >= 0) & (outputs >= 0)
    if not known.all():
        log.warning(
            "Ignored %d of %d labeled rows, because their label or predicted class is not in the evaluation",
            int((~known).sum()),
            len(known),
        )
    probability = None
    if set(window.classes) >= set(evaluation.classes):
        columns = [rows[PROBABILITY + name].to_numpy(zero_copy_only=False) for name in evaluation.classes]
        probability = np.stack(columns, axis=1).astype(np.float64)[known]
    return LabeledRows(labels[known], ModelOutput(outputs[known], probability), has_probabilities)


def compare_performance(
    evaluation: Evaluation,
    metric: Metric,
    truth: NDArray[np.int64] | NDArray[np.float64],
    predictions: ModelOutput,
    false_alarm_rate: float,
    seed: int = 0,
) -> Performance | None:
    """Compare the metric on the rows of the window with the evaluation; None if the rows do not define it.

    Parameters
    ----------
    truth
        Shape (rows,): class codes as in `evaluation.classes`, or numbers for regression.
    false_alarm_rate
        Probability of `worse` if nothing has changed.
    """
    from airflow_provider_mlops.stats.intervals.bca import percentile_interval
    from airflow_provider_mlops.stats.intervals.independent_difference import difference_interval
    from airflow_provider_mlops.stats.intervals.rescaled import rescaled_interval

    confidence = 1 - 2 * false_alarm_rate  # only one of the two sides is an alarm
    value = score(evaluation.problem, truth, predictions, len(evaluation.classes)).get(metric.name)
    if value is None:
        return None
    resampled = resample(
        evaluation.problem, truth, [predictions], len(evaluation.classes), resamples=_RESAMPLES, seed=seed
    )[0]
    # A small false alarm rate needs extreme quantiles, which a thousand resamples do not estimate well.
    interval = percentile_interval(value, resampled.resamples[metric.name], 0.95)
    interval = rescaled_interval(value, interval, 0.95, confidence)
    expected = evaluation.metrics.get(metric.name)
    if expected is None:
        return Performance(metric.name, value, interval, None, None, len(truth), False)
    # Without an interval, the evaluation's value is treated as exact.
    evaluated = evaluation.intervals.get(metric.name, (expected, expected))
    reference = rescaled_interval(expected, evaluated, evaluation.confidence, confidence)
    change = difference_interval(value, interval, expected, reference)
    if metric.greater_is_better is None:
        # It is worse if it moved away from zero, not merely to the other side of zero.
        worse = abs(value) > abs(expected) and (change[0] > 0 or change[1] < 0)
    else:
        worse = change[1] < 0 if metric.greater_is_better else change[0] > 0
    return Performance(metric.name, value, interval, expected, change, len(truth), bool(worse))


def choose_metric(evaluation: Evaluation, name: str | None, has_probabilities: bool) -> Metric:
    """Return the metric to compare: the named one, or the evaluation's main one.

    Raises InvalidSpecError if the name is not a metric of the problem, or needs probabilities that are not logged.
    """
    if name is None:
        available = [m for m in evaluation.metrics if has_probabilities or not METRICS[m].needs_probability]
        return main_metric(evaluation.problem, available)
    known = [metric.name for metric in METRICS.values() if metric.problem == evaluation.problem]
    if name not in known:
        raise InvalidSpecError(
            "performance_metric",
            name,
            f"it must be a metric for {evaluation.problem}. {suggest(name, known, max_names=len(known))}",
        )
    metric = METRICS[name]
    if metric.needs_probability and not has_probabilities:
        raise InvalidSpecError(
            "performance_metric",
            name,
            "this metric requires probabilities, which the gateway does not log for this model. Use a metric of the "
            "predicted classes, for example 'accuracy'",
        )
    return metric
