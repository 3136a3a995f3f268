"""Comparisons with a margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.paired import compare_with_margin, paired_bootstrap, paired_bootstrap_weighted


def mean_of(values: np.ndarray):  # type: ignore[no-untyped-def]
    return lambda weights: weights @ values / weights.sum(axis=1)


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


def test_the_interval_of_a_mean_gain_is_nearly_students() -> None:
    """Oracle: `scipy.stats.ttest_rel`."""
    generator = np.random.default_rng(6)
    champion = generator.exponential(size=400)
    candidate = champion * 0.9 + generator.normal(0, 0.05, size=400)
    expected = stats.ttest_rel(champion, candidate).confidence_interval()
    found = paired_bootstrap_weighted(
        mean_of(candidate), mean_of(champion), 400, greater_is_better=False, resamples=4000
    )
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.003)
    assert found.comparison == "better"
    assert found.gain == pytest.approx(found.champion - found.candidate)


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(7)
    hard = generator.normal(size=300)
    candidate, champion = hard + generator.normal(0, 0.1, 300), hard + generator.normal(0, 0.1, 300)
    found = paired_bootstrap_weighted(mean_of(candidate), mean_of(champion), 300, margin=0.05)
    assert found.high - found.low < 0.1
    assert found.comparison == "non_inferior"


def test_row_numbers_and_weights_agree() -> None:
    generator = np.random.default_rng(8)
    candidate, champion = generator.random(80), generator.random(80)
    by_row = paired_bootstrap(
        lambda rows: candidate[rows].mean(), lambda rows: champion[rows].mean(), 80, margin=0.1, seed=5, resamples=200
    )
    by_weight = paired_bootstrap_weighted(mean_of(candidate), mean_of(champion), 80, margin=0.1, seed=5, resamples=200)
    assert by_row.interval == pytest.approx(by_weight.interval)
    assert (by_row.candidate, by_row.champion) == pytest.approx((by_weight.candidate, by_weight.champion))


def test_swapping_the_models_turns_the_percentile_interval_round() -> None:
    generator = np.random.default_rng(8)
    one, other = generator.random(80), generator.random(80)
    there = paired_bootstrap_weighted(mean_of(one), mean_of(other), 80, method="percentile")
    back = paired_bootstrap_weighted(mean_of(other), mean_of(one), 80, method="percentile")
    assert there.interval == pytest.approx((-back.high, -back.low))


def test_a_candidate_worse_by_the_margin_passes_once_in_forty_times() -> None:
    generator = np.random.default_rng(10)
    passed = 0
    for sample in range(300):
        gains = generator.normal(-0.1, 0.5, size=120)
        found = paired_bootstrap_weighted(
            mean_of(gains), mean_of(np.zeros(120)), 120, margin=0.1, resamples=400, seed=sample
        )
        passed += found.comparison in ("better", "non_inferior")
    assert passed <= stats.binom.ppf(0.999, 300, 0.035)


def test_the_same_predictions_are_not_inferior_to_themselves() -> None:
    values = np.random.default_rng(1).random(50)
    assert paired_bootstrap_weighted(mean_of(values), mean_of(values), 50).comparison == "non_inferior"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        compare_with_margin(0, 1, -0.1)
    with pytest.raises(ValueError, match="upside down"):
        compare_with_margin(1, 0, 0.1)
