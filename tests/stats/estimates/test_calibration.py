"""Calibration against scikit-learn and Murphy's identity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from airflow_provider_mlops.stats.estimates.calibration import (
    Binning,
    bin_indices,
    brier_score,
    expected_calibration_error,
    reliability_curve,
)

PREDICTIONS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=80)
BINNINGS: list[Binning] = ["width", "count"]


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probability = generator.beta(0.7, 1.3, size=rows)
    return (generator.random(rows) < probability).astype(int), probability


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("count", "quantile")])
def test_the_curve_agrees_with_scikit_learn(binning: Binning, strategy: str) -> None:
    """Oracle: `sklearn.calibration.calibration_curve` on probabilities without ties."""
    positive, probability = drawn(1000, 1)
    observed, predicted = calibration_curve(positive, probability, n_bins=10, strategy=strategy)
    curve = reliability_curve(positive, probability, binning=binning)
    np.testing.assert_allclose(curve.observed, observed, atol=0.011)
    np.testing.assert_allclose(curve.predicted, predicted, atol=0.011)
    assert curve.rows.sum() == 1000


@given(PREDICTIONS)
def test_the_brier_score_agrees_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    """Oracle: `sklearn.metrics.brier_score_loss`."""
    positive, probability = (np.array(column) for column in zip(*rows, strict=True))
    assert brier_score(positive, probability) == pytest.approx(
        brier_score_loss(positive, probability, pos_label=True), abs=1e-12
    )


@given(PREDICTIONS, st.integers(1, 20), st.sampled_from(BINNINGS))
def test_the_calibration_error_is_a_mean_of_the_curve(
    rows: list[tuple[bool, float]], bins: int, binning: Binning
) -> None:
    positive, probability = (np.array(column) for column in zip(*rows, strict=True))
    curve = reliability_curve(positive, probability, bins=bins, binning=binning)
    error = expected_calibration_error(positive, probability, bins=bins, binning=binning)
    assert error == curve.expected_calibration_error
    assert 0 <= error <= curve.max_calibration_error + 1e-12 <= 1 + 1e-12
    assert curve.rows.sum() == len(rows)
    assert len(curve.rows) <= bins


def test_calibrated_probabilities_have_a_small_error_and_squeezed_ones_a_large_one() -> None:
    positive, probability = drawn(50_000, 2)
    assert expected_calibration_error(positive, probability) < 0.01
    squeezed = 0.5 + (probability - 0.5) / 2
    expected = np.abs(squeezed - probability).mean()
    assert expected_calibration_error(positive, squeezed) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("positive", "probability"), [([0, 1], [0.5]), ([0, 2], [0.5, 0.5]), ([0, 1], [0.5, 1.1]), ([], [])]
)
def test_nonsense_is_refused(positive: list[int], probability: list[float]) -> None:
    with pytest.raises(ValueError, match=r"equal length|true or false|between 0 and 1"):
        brier_score(positive, probability)
    with pytest.raises(ValueError, match="bins"):
        reliability_curve([0, 1], [0.1, 0.2], bins=0)


@given(PREDICTIONS, st.integers(1, 20), st.sampled_from(BINNINGS))
def test_every_bin_holds_its_mean_and_its_interval_the_share(
    rows: list[tuple[bool, float]], bins: int, binning: Binning
) -> None:
    positive, probability = (np.array(column) for column in zip(*rows, strict=True))
    curve = reliability_curve(positive, probability, bins=bins, binning=binning)
    assert np.all((curve.lower <= curve.predicted + 1e-12) & (curve.predicted <= curve.upper + 1e-12))
    assert np.all(curve.lower[1:] >= curve.upper[:-1])
    for share, (low, high) in zip(curve.observed, curve.intervals(0.9), strict=True):
        assert low <= share + 1e-12
        assert share <= high + 1e-12


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_probability_falls_into_the_bin_between_whose_edges_it_lies(probability: float, bins: int) -> None:
    (place,) = bin_indices(np.array([probability]), bins)
    edges = np.linspace(0, 1, bins + 1)
    assert edges[place] <= probability
    assert probability < edges[place + 1] or (place == bins - 1 and probability == 1)
