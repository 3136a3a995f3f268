"""Compute metrics from rows and from how often each row counts.

If every row counts once, the result is the metric itself, equal to scikit-learn's. With the counts of bootstrap
resamples, the result is the metric of each resample, for a thousand resamples at once and without sorting rows again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_mlops.lifecycle.scoring.metrics import CALIBRATION_BINS, ModelOutput, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]


class ClassificationScorer:
    """A function that computes classification metrics from counts of the rows, of shape (resamples, rows).

    It returns an array of shape (resamples,) for every metric, with NaN if a resample does not define the metric.
    """

    def __init__(self, truth: NDArray[np.int64] | NDArray[np.float64], predictions: ModelOutput, classes: int) -> None:
        import numpy as np

        self._truth = truth.astype(np.int64)
        self._predicted = predictions.value.astype(np.int64)
        self._right = (self._truth == self._predicted).astype(np.float64)
        self._classes = classes
        self._probability = predictions.probability
        if self._probability is not None:
            self._prepare(self._probability)

    def _prepare(self, probability: Floats) -> None:
        import numpy as np

        from airflow_provider_mlops.stats.estimates.calibration import bin_indices

        rows = np.arange(len(self._truth))
        # Clipped as scikit-learn does, so that one certain error does not make the loss infinite.
        smallest = np.finfo(np.float64).eps
        self._log_loss = -np.log(np.clip(probability[rows, self._truth], smallest, 1 - smallest))
        truth = np.eye(self._classes)[self._truth]
        if self._classes == 2:
            self._brier = (probability[:, 1] - truth[:, 1]) ** 2
            self._confidence, self._hit = probability[:, 1], truth[:, 1]
        else:
            self._brier = ((probability - truth) ** 2).sum(axis=1)
            best = probability.argmax(axis=1)
            self._confidence, self._hit = probability[rows, best], (best == self._truth).astype(np.float64)
        self._bin = bin_indices(self._confidence, CALIBRATION_BINS)
        self._rankings = [
            _Ranking(self._truth == code, probability[:, code])
            for code in ([1] if self._classes == 2 else range(self._classes))
        ]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return the metrics for counts of the rows, of shape (resamples, rows)."""
        import numpy as np

        total = counts.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self._class_metrics(counts, total)
            if self._probability is not None:
                areas = [ranking(counts) for ranking in self._rankings]
                values["roc_auc"] = _mean_of_finite(np.stack([area for area, _ in areas]))
                values["average_precision"] = _mean_of_finite(np.stack([precision for _, precision in areas]))
                values["log_loss"] = counts @ self._log_loss / total
                values["brier_score"] = counts @ self._brier / total
                distance = binned(self._bin, counts * (self._confidence - self._hit), CALIBRATION_BINS)
                values["calibration_error"] = np.abs(distance).sum(axis=1) / total
        return values

    def _class_metrics(self, counts: Floats, total: Floats) -> dict[str, Floats]:
        import numpy as np

        # The confusion matrix grows with the square of the classes, but only its diagonal and its sums are needed.
        hits = binned(self._truth, counts * self._right, self._classes)
        true, predicted = (binned(codes, counts, self._classes) for codes in (self._truth, self._predicted))
        recall = np.where(true > 0, hits / true, 0.0)
        precision = np.where(predicted > 0, hits / predicted, 0.0)
        f1 = np.where(true + predicted > 0, 2 * hits / (true + predicted), 0.0)
        correct = hits.sum(axis=1)
        covariance = correct * total - (true * predicted).sum(axis=1)
        spread = np.sqrt((total**2 - (true**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1)))

        def summary(per_class: Floats, over: Floats) -> Floats:
            if self._classes == 2:
                return per_class[:, 1]
            mean: Floats = (per_class * over).sum(axis=1) / over.sum(axis=1)
            return mean

        seen = (true + predicted > 0).astype(np.float64)
        in_truth = (true > 0).astype(np.float64)
        return {
            "accuracy": correct / total,
            "balanced_accuracy": (recall * in_truth).sum(axis=1) / in_truth.sum(axis=1),
            "precision": summary(precision, seen),
            "recall": summary(recall, seen),
            "f1": summary(f1, seen),
            "matthews_correlation": np.where(spread > 0, covariance / spread, 0.0),
        }


class RegressionScorer:
    """A function that computes regression metrics, called in the same way as ClassificationScorer."""

    def __init__(self, truth: NDArray[np.int64] | NDArray[np.float64], predictions: ModelOutput) -> None:
        import numpy as np

        # R² is the same for a shifted target, and the sums of squares lose fewer digits around the mean.
        center = float(np.mean(truth)) if len(truth) else 0.0
        self._truth = truth.astype(np.float64) - center
        self._error = predictions.value.astype(np.float64) - center - self._truth
        absolute = np.abs(self._error)
        self._order = np.argsort(absolute, kind="stable")
        self._sorted = absolute[self._order]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return the metrics for counts of the rows, of shape (resamples, rows)."""
        import numpy as np

        total = counts.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = counts @ self._error**2
            variation = counts @ self._truth**2 - (counts @ self._truth) ** 2 / total
            # The variation of a constant target is a rounding error, not zero.
            noise = 1e-12 * (counts @ self._truth**2)
            return {
                "rmse": np.sqrt(squares / total),
                "mae": counts @ np.abs(self._error) / total,
                "median_absolute_error": self._median(counts[:, self._order], total),
                "r2": np.where(variation > noise, 1 - squares / variation, np.nan),
                "mean_error": counts @ self._error / total,
            }

    def _median(self, counts: Floats, total: Floats) -> Floats:
        import numpy as np

        cumulative = counts.cumsum(axis=1)
        lower = (cumulative <= ((total - 1) // 2)[:, None]).sum(axis=1)
        upper = (cumulative <= (total // 2)[:, None]).sum(axis=1)
        median: Floats = (
            self._sorted[np.minimum(lower, len(self._sorted) - 1)]
            + self._sorted[np.minimum(upper, len(self._sorted) - 1)]
        ) / 2
        return median


class _Ranking:
    """Rows ranked by a score, to compute the ROC area and the average precision for any counts."""

    def __init__(self, positive: NDArray[np.bool_], ranked_by: Floats) -> None:
        import numpy as np

        self._order = np.argsort(-ranked_by, kind="stable")
        self._positive = positive[self._order].astype(np.float64)
        ranked = ranked_by[self._order]
        # Rows with the same score are one step of both curves.
        self._last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]:
        import numpy as np

        counts = counts[:, self._order]
        hits = (counts * self._positive).cumsum(axis=1)[:, self._last]
        all_rows = counts.cumsum(axis=1)[:, self._last]
        hits = np.concatenate([np.zeros((len(hits), 1)), hits], axis=1)
        all_rows = np.concatenate([np.zeros((len(hits), 1)), all_rows], axis=1)
        misses = all_rows - hits
        positives, negatives = hits[:, -1], misses[:, -1]
        steps = np.diff(hits, axis=1)
        area = (np.diff(misses, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(axis=1) / (positives * negatives)
        precision = np.where(steps > 0, steps * hits[:, 1:] / all_rows[:, 1:], 0.0).sum(axis=1) / positives
        return area, np.where(negatives > 0, precision, np.nan)


def binned(cells: Integers, counts: Floats, size: int) -> Floats:
    """Sum the counts by cell, and return an array of shape (resamples, size).

    Parameters
    ----------
    cells
        Cell of each row, of shape (rows,).
    counts
        Shape (resamples, rows).
    """
    import numpy as np

    summed = [np.bincount(cells, weights=row, minlength=size) for row in counts]
    return np.array(summed, dtype=np.float64).reshape(len(counts), size)


def _mean_of_finite(values: Floats) -> Floats:
    """Return the mean of the finite values over the first axis; NaN if there are none."""
    import numpy as np

    finite = np.isfinite(values)
    mean: Floats = np.where(finite, values, 0.0).sum(axis=0) / finite.sum(axis=0)
    return mean


def score(
    problem: Problem, truth: NDArray[np.int64] | NDArray[np.float64], predictions: ModelOutput, classes: int = 0
) -> dict[str, float]:
    """Return all metrics that the rows define. For example, rows of a single class do not define the ROC area.

    Parameters
    ----------
    truth
        Shape (rows,): class codes below `classes`, or numbers for regression.
    classes
        Number of classes; 0 for regression. If there are two, code 1 is the positive class.
    """
    import numpy as np

    once = np.ones((1, len(truth)))
    values = scorer(problem, truth, predictions, classes)(once)
    return {name: float(value[0]) for name, value in values.items() if np.isfinite(value[0])}


def scorer(
    problem: Problem, truth: NDArray[np.int64] | NDArray[np.float64], predictions: ModelOutput, classes: int = 0
) -> ClassificationScorer | RegressionScorer:
    """Return the scorer of the problem, which computes metrics for any counts. Takes the same arguments as `score`."""
    if problem == "regression":
        return RegressionScorer(truth, predictions)
    return ClassificationScorer(truth, predictions, classes)
