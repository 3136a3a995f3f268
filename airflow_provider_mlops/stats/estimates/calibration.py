"""Calibration of predicted probabilities: reliability curve, calibration error and Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.intervals.proportion import wilson_interval

Binning = Literal["width", "count"]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Predicted and observed frequencies, one point for each bin that has rows.

    Parameters
    ----------
    predicted
        Mean predicted probability of each bin, shape `(bins,)`.
    observed
        Proportion of positive rows in each bin.
    rows
        Number of rows in each bin.
    lower, upper
        Smallest and largest probability that belongs to each bin.
    """

    predicted: Floats
    observed: Floats
    rows: Floats
    lower: Floats
    upper: Floats

    @property
    def expected_calibration_error(self) -> float:
        r"""Mean distance from the diagonal, weighted by rows: :math:`\sum_b \frac{n_b}{n} |o_b - p_b|`.

        Naeini, Cooper and Hauskrecht (2015), *Obtaining well calibrated probabilities using Bayesian binning*, AAAI.
        """
        return float(np.sum(self.rows * np.abs(self.observed - self.predicted)) / self.rows.sum())

    def intervals(self, confidence: float = 0.95) -> list[Interval]:
        """Return Wilson's interval of the observed proportion in each bin."""
        positive = np.rint(self.observed * self.rows)
        return [
            wilson_interval(int(hits), int(rows), confidence) for hits, rows in zip(positive, self.rows, strict=True)
        ]

    @property
    def max_calibration_error(self) -> float:
        """Largest distance from the diagonal."""
        return float(np.max(np.abs(self.observed - self.predicted)))


def reliability_curve(
    positive: ArrayLike, probability: ArrayLike, *, bins: int = 10, binning: Binning = "width"
) -> ReliabilityCurve:
    """Compute the observed frequency of the positive class by predicted probability.

    Parameters
    ----------
    positive
        Whether each row is of the positive class, shape `(rows,)`.
    probability
        Predicted probability of the positive class, between 0 and 1, shape `(rows,)`.
    bins
        Largest number of bins.
    binning
        `width`: bins of equal width, the last one closed. `count`: bins with about equal numbers of rows; equal
        probabilities stay together.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, or a probability is not between 0 and 1.

    Examples
    --------
    >>> curve = reliability_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2)
    >>> curve.predicted.round(2), curve.observed, curve.rows
    (array([0.15, 0.8 ]), array([0., 1.]), array([2., 2.]))
    """
    labels, predicted = _validate(positive, probability)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if binning == "width":
        edges = np.linspace(0, 1, bins + 1)
        bin_of_row = bin_indices(predicted, bins)
    else:
        inner = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
        edges = np.concatenate([[0.0], inner, [1.0]])
        bin_of_row = np.searchsorted(inner, predicted, side="right")
    rows = np.bincount(bin_of_row, minlength=edges.size - 1)
    filled = rows > 0
    return ReliabilityCurve(
        predicted=np.bincount(bin_of_row, weights=predicted, minlength=rows.size)[filled] / rows[filled],
        observed=np.bincount(bin_of_row, weights=labels, minlength=rows.size)[filled] / rows[filled],
        rows=rows[filled].astype(np.float64),
        lower=edges[:-1][filled],
        upper=edges[1:][filled],
    )


def bin_indices(probability: Floats, bins: int = 10) -> NDArray[np.int64]:
    """Return the bin of equal width that each probability belongs to, counted from 0. The last bin is closed.

    Parameters
    ----------
    probability
        Probabilities between 0 and 1, shape `(rows,)`.
    bins
        Number of bins.

    Examples
    --------
    >>> bin_indices(np.array([0.0, 0.05, 0.1, 1.0]))
    array([0, 0, 1, 9])
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability, side="right").astype(np.int64)


def expected_calibration_error(
    positive: ArrayLike, probability: ArrayLike, *, bins: int = 10, binning: Binning = "width"
) -> float:
    """Return the expected calibration error of `reliability_curve`. Even calibrated probabilities do not reach 0.

    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2), 3)
    0.175
    """
    return reliability_curve(positive, probability, bins=bins, binning=binning).expected_calibration_error


def brier_score(positive: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean squared difference between probability and outcome: 0 is perfect, 0.25 is a coin.

    Brier (1950), *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 78(1), in the
    one-sided form for two classes.

    >>> round(brier_score([0, 1], [0.2, 0.6]), 3)
    0.1
    """
    labels, predicted = _validate(positive, probability)
    return float(np.mean((predicted - labels) ** 2))


def _validate(positive: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    labels, predicted = np.asarray(positive, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != predicted.shape or not labels.size:
        raise ValueError(
            "positive and probability must be one-dimensional, non-empty and of equal length, "
            f"got shapes {labels.shape} and {predicted.shape}"
        )
    if not np.all((labels == 0) | (labels == 1)):
        raise ValueError("positive must be true or false for every row, and without missing values")
    if not np.all((predicted >= 0) & (predicted <= 1)):
        raise ValueError("probability must be between 0 and 1 for every row")
    return labels, predicted
