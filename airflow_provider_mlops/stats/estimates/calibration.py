"""Whether predicted probabilities are what they say: reliability curve, calibration error and the Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airflow_provider_mlops.stats.intervals.interval import Interval, wilson_interval

Floats = NDArray[np.float64]
Binning = Literal["width", "count"]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Predicted against observed frequencies, one point for each bin that has rows.

    Parameters
    ----------
    predicted
        Mean predicted probability of each bin, of shape `(bins,)`.
    observed
        Share of positive rows of each bin.
    rows
        Rows of each bin.
    lower, upper
        The probabilities between which each bin lies.
    """

    predicted: Floats
    observed: Floats
    rows: Floats
    lower: Floats
    upper: Floats

    @property
    def expected_calibration_error(self) -> float:
        r"""Mean distance from the diagonal, by rows: :math:`\sum_b \frac{n_b}{n} |o_b - p_b|`.

        Naeini, Cooper and Hauskrecht (2015), *Obtaining well calibrated probabilities using Bayesian binning*, AAAI.
        """
        return float(np.sum(self.rows * np.abs(self.observed - self.predicted)) / self.rows.sum())

    def intervals(self, confidence: float = 0.95) -> list[Interval]:
        """Wilson's interval of the observed share of each bin."""
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
    """Observed frequency of the positive class by predicted probability.

    Parameters
    ----------
    positive
        Whether the row is of the positive class, of shape `(rows,)`.
    probability
        Predicted probability of it, between 0 and 1, of shape `(rows,)`.
    bins
        How many bins, at most.
    binning
        `width`: bins of equal width, the last one closed. `count`: bins of about equal numbers of rows, equal
        probabilities staying together.

    Raises
    ------
    ValueError
        If shapes differ, there are no rows, or a probability lies outside 0 to 1.

    >>> curve = reliability_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2)
    >>> curve.predicted.round(2), curve.observed, curve.rows
    (array([0.15, 0.8 ]), array([0., 1.]), array([2., 2.]))
    """
    labels, predicted = _checked(positive, probability)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if binning == "width":
        edges = np.linspace(0, 1, bins + 1)
        place = bin_of(predicted, bins)
    else:
        inner = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
        edges = np.concatenate([[0.0], inner, [1.0]])
        place = np.searchsorted(inner, predicted, side="right")
    rows = np.bincount(place, minlength=edges.size - 1)
    filled = rows > 0
    return ReliabilityCurve(
        predicted=np.bincount(place, weights=predicted, minlength=rows.size)[filled] / rows[filled],
        observed=np.bincount(place, weights=labels, minlength=rows.size)[filled] / rows[filled],
        rows=rows[filled].astype(np.float64),
        lower=edges[:-1][filled],
        upper=edges[1:][filled],
    )


def bin_of(probability: Floats, bins: int = 10) -> NDArray[np.int64]:
    """The bin of equal width into which each probability falls, from 0; the last bin is closed.

    Parameters
    ----------
    probability
        Between 0 and 1, of shape `(rows,)`.
    bins
        How many bins there are.

    >>> bin_of(np.array([0.0, 0.05, 0.1, 1.0]))
    array([0, 0, 1, 9])
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability, side="right").astype(np.int64)


def expected_calibration_error(
    positive: ArrayLike, probability: ArrayLike, *, bins: int = 10, binning: Binning = "width"
) -> float:
    """`ReliabilityCurve.expected_calibration_error` of `reliability_curve`. Not zero by chance even if calibrated.

    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2), 3)
    0.175
    """
    return reliability_curve(positive, probability, bins=bins, binning=binning).expected_calibration_error


def brier_score(positive: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared distance of the probability from what happened: 0 is perfect, 0.25 a coin.

    Brier (1950), *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 78(1), in the
    one-sided form for two classes.

    >>> round(brier_score([0, 1], [0.2, 0.6]), 3)
    0.1
    """
    labels, predicted = _checked(positive, probability)
    return float(np.mean((predicted - labels) ** 2))


@dataclass(frozen=True, slots=True)
class BrierDecomposition:
    """The Brier score in parts: `reliability - resolution + uncertainty + within_bins`.

    Parameters
    ----------
    reliability
        Squared distance from the diagonal: small is calibrated.
    resolution
        How far the bins' frequencies lie from the overall one: large is informative.
    uncertainty
        Variance of the outcome: the score of always predicting the overall frequency.
    within_bins
        What is left because probabilities of one bin differ; zero when they do not.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float

    @property
    def score(self) -> float:
        """The Brier score again."""
        return self.reliability - self.resolution + self.uncertainty + self.within_bins


def brier_decomposition(
    positive: ArrayLike, probability: ArrayLike, *, bins: int = 10, binning: Binning = "width"
) -> BrierDecomposition:
    r"""Murphy's decomposition of the Brier score over bins.

    .. math:: \mathrm{BS} = \sum_b \tfrac{n_b}{n}(p_b - o_b)^2 - \sum_b \tfrac{n_b}{n}(o_b - \bar o)^2
              + \bar o(1-\bar o) + W

    Murphy (1973), *A new vector partition of the probability score*, Journal of Applied Meteorology 12(4); with the
    two within-bin terms of Stephenson, Coelho and Jolliffe (2008), *Two extra components in the Brier score
    decomposition*, Weather and Forecasting 23(4), put together as W.

    Parameters
    ----------
    positive, probability, bins, binning
        As for `reliability_curve`.

    >>> parts = brier_decomposition([0, 1, 1, 1], [0.2, 0.2, 0.8, 0.8], bins=5)
    >>> round(parts.reliability, 3), round(parts.resolution, 4), parts.uncertainty, round(parts.score, 3)
    (0.065, 0.0625, 0.1875, 0.19)
    """
    labels, predicted = _checked(positive, probability)
    curve = reliability_curve(labels, predicted, bins=bins, binning=binning)
    share = curve.rows / curve.rows.sum()
    overall = float(labels.mean())
    reliability = float(np.sum(share * (curve.predicted - curve.observed) ** 2))
    resolution = float(np.sum(share * (curve.observed - overall) ** 2))
    uncertainty = overall * (1 - overall)
    score = float(np.mean((predicted - labels) ** 2))
    return BrierDecomposition(reliability, resolution, uncertainty, score - (reliability - resolution + uncertainty))


def _checked(positive: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    labels, predicted = np.asarray(positive, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != predicted.shape or not labels.size:
        raise ValueError(f"two vectors over the same rows are needed, not of shapes {labels.shape}, {predicted.shape}")
    if not np.all((labels == 0) | (labels == 1)):
        raise ValueError("positive must be true or false for every row")
    if not np.all((predicted >= 0) & (predicted <= 1)):
        raise ValueError("probabilities must lie between 0 and 1")
    return labels, predicted
