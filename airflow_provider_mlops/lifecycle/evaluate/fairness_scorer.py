"""Compute fairness measures for any counts of the rows, to get their intervals from the bootstrap of the metrics.

If every row counts once, the results equal fairlearn's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_mlops.lifecycle.scoring.metrics import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics, Scorer

    Floats: TypeAlias = NDArray[np.float64]
    Values: TypeAlias = NDArray[np.int64] | NDArray[np.float64]

_CELLS_AT_ONCE = 2_000_000


def resample_fairness(
    problem: Problem,
    truth: Values,
    predicted: Values,
    classes: int,
    labels: NDArray[np.object_],
    *,
    resamples: int,
    seed: int,
) -> ResampledMetrics:
    """Compute the measures of one sensitive column on the same resamples as the metrics with the same seed.

    Parameters
    ----------
    truth, predicted
        Shape (rows,): class codes, or numbers for regression.
    labels
        Group of each row, of shape (rows,).
    """
    import numpy as np

    from airflow_provider_mlops.stats.intervals import bootstrap

    names, groups = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    # All rows, not a subset of them, decide which classes are measured.
    seen = [code for code in range(classes) if (truth == code).any() or (predicted == code).any()]
    codes = np.array([1] if classes == 2 else seen or [0])

    def scorers_of(chosen: NDArray[np.int64] | None) -> list[Scorer]:
        rows = slice(None) if chosen is None else chosen
        if problem == "regression":
            return [_RegressionScorer(truth[rows], predicted[rows], groups[rows], len(names))]
        return [_ClassificationScorer(truth[rows], predicted[rows], groups[rows], len(names), classes, codes)]

    return bootstrap.resample(scorers_of, len(truth), resamples=resamples, seed=seed)[0]


class _ClassificationScorer:
    def __init__(
        self, truth: Values, predicted: Values, groups: NDArray[Any], size: int, classes: int, codes: NDArray[Any]
    ) -> None:
        import numpy as np

        self._size, self._classes, self._codes = size, classes, codes
        self._true = groups * classes + truth.astype(np.int64)
        self._predicted = groups * classes + predicted.astype(np.int64)
        self._right = (truth == predicted).astype(np.float64)

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return the measures for counts of shape (resamples, rows), of the worst class if there are several."""
        import numpy as np

        at_once = max(1, _CELLS_AT_ONCE // (self._size * self._classes))
        parts = [self._measure(counts[start : start + at_once]) for start in range(0, len(counts), at_once)]
        if not parts:
            return {name: np.empty(0) for name in self._measure(np.ones((1, len(self._true))))}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _measure(self, counts: Floats) -> dict[str, Floats]:
        import numpy as np

        true, predicted = self._by_class(self._true, counts), self._by_class(self._predicted, counts)
        hits = self._by_class(self._true, counts * self._right)
        rows = true.sum(axis=2)
        # Groups without a row in a resample are ignored in it.
        present = rows > 0
        accuracy = _spread(_share(hits.sum(axis=2), rows), present)[0]
        rows, present = rows[:, :, None], present[:, :, None]
        positive, selected, hits = (part[:, :, self._codes] for part in (true, predicted, hits))
        selection, selection_ratio = _spread(_share(selected, rows), present)
        # As in fairlearn, the rate of zero rows is 0.
        true_rate, true_ratio = _spread(np.nan_to_num(_share(hits, positive)), present)
        false_rate, false_ratio = _spread(np.nan_to_num(_share(selected - hits, rows - positive)), present)
        worst = {
            "demographic_parity_difference": np.fmax.reduce(selection, axis=1),
            "demographic_parity_ratio": np.fmin.reduce(selection_ratio, axis=1),
            "equalized_odds_difference": np.fmax.reduce(np.fmax(true_rate, false_rate), axis=1),
            # As in fairlearn, there is no ratio without true positives, and it is the ratio of the true positive rates
            # without false positives.
            "equalized_odds_ratio": np.fmin.reduce(
                np.where(np.isnan(true_ratio), np.nan, np.fmin(true_ratio, false_ratio)), axis=1
            ),
            "equal_opportunity_difference": np.fmax.reduce(true_rate, axis=1),
        }
        return worst | {"accuracy_difference": accuracy}

    def _by_class(self, cells: NDArray[np.int64], counts: Floats) -> Floats:
        from airflow_provider_mlops.lifecycle.scoring.scorers import binned

        return binned(cells, counts, self._size * self._classes).reshape(len(counts), self._size, self._classes)


class _RegressionScorer:
    def __init__(self, truth: Values, predicted: Values, groups: NDArray[Any], size: int) -> None:
        import numpy as np

        self._groups, self._size = groups, size
        self._predicted = predicted.astype(np.float64)
        self._error = self._predicted - truth

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return the measures for counts of the rows, of shape (resamples, rows)."""
        import numpy as np

        from airflow_provider_mlops.lifecycle.scoring.scorers import binned

        rows = binned(self._groups, counts, self._size)
        values = {
            "mean_prediction": self._predicted,
            "mean_error": self._error,
            "mae": np.abs(self._error),
        }
        return {
            f"{name}_difference": _spread(_share(binned(self._groups, counts * each, self._size), rows), rows > 0)[0]
            for name, each in values.items()
        }


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, NaN if the whole is zero."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        share: Floats = part / whole
    return share


def _spread(rates: Floats, present: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the largest difference and the smallest ratio between the groups that are present, over axis 1."""
    import numpy as np

    present = np.broadcast_to(present, rates.shape)
    low = np.where(present, rates, np.inf).min(axis=1)
    high = np.where(present, rates, -np.inf).max(axis=1)
    return high - low, _share(low, high)
