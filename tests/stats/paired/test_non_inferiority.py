"""Comparisons with a margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.intervals.bootstrap import Scorer, resample
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.paired.non_inferiority import compare_with_margin, paired_gain


def mean_of(values: np.ndarray) -> Scorer:
    return lambda counts: {"mean": counts @ values / counts.sum(axis=1)}


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_exactly_one_verdict_fits(low: float, width: float, margin: float) -> None:
    high = low + width
    verdict = compare_with_margin(low, high, margin)
    assert (verdict == "better") == (low > 0)
    assert (verdict == "worse") == (high < -margin)
    assert (verdict in ("better", "non_inferior")) == (low >= -margin)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_larger_margin_never_makes_a_verdict_worse(low: float, width: float, margin: float, more: float) -> None:
    order = ["worse", "inconclusive", "non_inferior", "better"]
    strict = compare_with_margin(low, low + width, margin)
    assert order.index(compare_with_margin(low, low + width, margin + more)) >= order.index(strict)


def gain_of(
    candidate: np.ndarray, champion: np.ndarray, greater_is_better: bool | None = True, **options: int
) -> tuple[float, Interval]:
    drawn = resample(lambda chosen: [mean_of(candidate), mean_of(champion)], len(candidate), **options)
    return paired_gain(*drawn, "mean", greater_is_better)


def test_the_interval_of_a_mean_gain_is_nearly_students() -> None:
    """Oracle: `scipy.stats.ttest_rel`."""
    generator = np.random.default_rng(6)
    champion = generator.exponential(size=400)
    candidate = champion * 0.9 + generator.normal(0, 0.05, size=400)
    expected = stats.ttest_rel(champion, candidate).confidence_interval()
    gain, interval = gain_of(candidate, champion, False, resamples=4000)
    assert interval == pytest.approx((expected.low, expected.high), abs=0.003)
    assert compare_with_margin(*interval, 0.0) == "better"
    assert gain == pytest.approx(champion.mean() - candidate.mean())


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(7)
    hard = generator.normal(size=300)
    candidate, champion = hard + generator.normal(0, 0.1, 300), hard + generator.normal(0, 0.1, 300)
    _, (low, high) = gain_of(candidate, champion)
    assert high - low < 0.1
    assert compare_with_margin(low, high, 0.05) == "non_inferior"


def test_swapping_the_models_turns_the_gain_round() -> None:
    generator = np.random.default_rng(8)
    one, other = generator.random(80), generator.random(80)
    there, (low, high) = gain_of(one, other)
    back, ends = gain_of(other, one)
    assert back == pytest.approx(-there)
    assert ends == pytest.approx((-high, -low), abs=0.01)
    assert gain_of(one, other, False)[0] == pytest.approx(back)


def test_a_bias_gains_by_coming_nearer_to_zero() -> None:
    values = np.random.default_rng(9).normal(0, 0.1, 200)
    gain, (low, high) = gain_of(values + 0.1, values - 0.5, None)
    assert gain == pytest.approx(abs(values.mean() - 0.5) - abs(values.mean() + 0.1))
    assert 0 < low < gain < high


def test_a_candidate_worse_by_the_margin_passes_once_in_forty_times() -> None:
    generator = np.random.default_rng(10)
    passed = 0
    for sample in range(300):
        gains = generator.normal(-0.1, 0.5, size=120)
        _, interval = gain_of(gains, np.zeros(120), resamples=400, seed=sample)
        passed += compare_with_margin(*interval, 0.1) in ("better", "non_inferior")
    assert passed <= stats.binom.ppf(0.999, 300, 0.035)


def test_the_same_predictions_are_not_inferior_to_themselves() -> None:
    values = np.random.default_rng(1).random(50)
    assert compare_with_margin(*gain_of(values, values)[1], 0.0) == "non_inferior"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        compare_with_margin(0, 1, -0.1)
    with pytest.raises(ValueError, match="must not be greater than high"):
        compare_with_margin(1, 0, 0.1)
