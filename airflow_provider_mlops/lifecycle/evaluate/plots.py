"""The plots of an evaluation report, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from airflow_provider_mlops.lifecycle.scoring.evaluation import CalibrationBin

_POINTS = 400
MAX_CURVES = 8
"""Number of classes that the ROC and precision-recall plots show, the most frequent ones."""

_CELLS = 25


def roc_figure(truth: NDArray[Any], models: Mapping[str, ModelOutput], classes: tuple[str, ...]) -> Figure:
    """Plot ROC curves: one for each model if there are two classes, else one of the first model for each class."""
    from sklearn.metrics import roc_curve

    figure, axes = _square("false positive rate", "true positive rate")
    for name, positive, ranked_by in _curves(truth, models, classes):
        false, true, _ = roc_curve(positive, ranked_by)
        axes.plot(*_thin(false, true), label=name)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def precision_recall_figure(truth: NDArray[Any], models: Mapping[str, ModelOutput], classes: tuple[str, ...]) -> Figure:
    """Plot precision-recall curves, for the same models and classes as the ROC curves."""
    from sklearn.metrics import precision_recall_curve

    figure, axes = _square("recall", "precision")
    for name, positive, ranked_by in _curves(truth, models, classes):
        precision, recall, _ = precision_recall_curve(positive, ranked_by)
        axes.step(*_thin(recall, precision), where="post", label=name)
    axes.legend(loc="lower left", frameon=False, fontsize=8)
    return figure


def confusion_figure(truth: NDArray[Any], predicted: NDArray[Any], classes: tuple[str, ...]) -> Figure:
    """Plot the confusion matrix, shaded by the share of the true class.

    If there are more than 25 classes, the rarest are combined as `others`.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    names = list(classes)
    if len(names) > _CELLS:
        kept = np.sort(np.argsort(-np.bincount(truth, minlength=len(names)), kind="stable")[: _CELLS - 1])
        lookup = np.full(len(names), len(kept))
        lookup[kept] = np.arange(len(kept))
        truth, predicted = lookup[truth], lookup[predicted]
        names = [*(names[code] for code in kept), "others"]
    counts = confusion_matrix(truth, predicted, labels=range(len(names)))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.6 + 0.45 * len(names)
    figure = Figure(figsize=(size, size))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=8)
    short = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    axes.set_xticks(range(len(names)), short, rotation=45 if len(names) > 3 else 0, fontsize=8)
    axes.set_yticks(range(len(names)), short, fontsize=8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def calibration_figure(bins: tuple[CalibrationBin, ...]) -> Figure:
    """Plot observed frequency against predicted probability, with intervals."""
    figure, axes = _square("predicted probability", "observed frequency")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
    low = [max(0.0, part.observed - part.interval[0]) for part in bins]
    high = [max(0.0, part.interval[1] - part.observed) for part in bins]
    axes.errorbar(
        [part.predicted for part in bins],
        [part.observed for part in bins],
        yerr=[low, high],
        marker="o",
        markersize=4,
        capsize=2,
        linewidth=1.2,
    )
    return figure


def residuals_figure(truth: NDArray[Any], predicted: NDArray[Any], seed: int = 0) -> Figure:
    """Plot residuals against predictions for at most 2,000 rows, and the distribution of all residuals."""
    import numpy as np
    from matplotlib.figure import Figure

    residuals = predicted - truth
    chosen = np.arange(len(truth))
    if len(chosen) > 2000:
        chosen = np.random.default_rng(seed).choice(len(truth), 2000, replace=False)
    figure = Figure(figsize=(8, 3.6))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1), gridspec_kw={"wspace": 0.3})
    left.scatter(predicted[chosen], residuals[chosen], s=8, alpha=0.5, linewidths=0)
    left.axhline(0, color="0.6", linewidth=1, linestyle=":")
    left.set_xlabel("predicted value")
    left.set_ylabel("predicted minus true")
    right.hist(residuals, bins=min(50, max(10, int(len(residuals) ** 0.5))))
    right.axvline(0, color="0.6", linewidth=1, linestyle=":")
    right.set_xlabel("predicted minus true")
    right.set_ylabel("rows")
    return figure


def fit_figure(truth: NDArray[Any], predicted: NDArray[Any], seed: int = 0) -> Figure:
    """Plot predicted against true values for at most 2,000 rows."""
    import numpy as np
    from matplotlib.figure import Figure

    chosen = np.arange(len(truth))
    if len(chosen) > 2000:
        chosen = np.random.default_rng(seed).choice(len(truth), 2000, replace=False)
    figure = Figure(figsize=(4.4, 4.4))
    axes = figure.add_subplot()
    axes.scatter(truth[chosen], predicted[chosen], s=8, alpha=0.5, linewidths=0)
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    axes.plot(ends, ends, color="0.6", linewidth=1, linestyle=":")
    axes.set_xlabel("true value")
    axes.set_ylabel("predicted value")
    return figure


def _curves(
    truth: NDArray[Any], models: Mapping[str, ModelOutput], classes: tuple[str, ...]
) -> list[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """Return the curves to draw: the name, the positive rows, and the score that ranks the rows."""
    if len(classes) == 2:
        return [
            (name, truth == 1, model.probability[:, 1])
            for name, model in models.items()
            if model.probability is not None
        ]
    probability = next(iter(models.values())).probability
    if probability is None:
        return []
    return [(classes[code], truth == code, probability[:, code]) for code in curve_classes(truth, classes)]


def curve_classes(truth: NDArray[Any], classes: tuple[str, ...]) -> list[int]:
    """Return the codes of the classes that get a curve: the most frequent ones, at most `MAX_CURVES`."""
    import numpy as np

    counts = np.bincount(truth, minlength=len(classes))
    frequent = np.argsort(-counts, kind="stable")[:MAX_CURVES]
    return [int(code) for code in frequent if 0 < counts[code] < len(truth)]


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.4))
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return figure, axes


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the curve with at most as many points as a reader can distinguish."""
    import numpy as np

    if len(x) <= _POINTS:
        return x, y
    chosen = np.unique(np.linspace(0, len(x) - 1, _POINTS).astype(int))
    return x[chosen], y[chosen]
