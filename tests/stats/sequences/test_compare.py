"""Verdicts of gates: what they say, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments, gamma_mixture_bound
from airflow_provider_mlops.stats.sequences.compare_means import compare_bounded_means, compare_means
from airflow_provider_mlops.stats.sequences.compare_rates import compare_rate_with_limit, compare_rates
from airflow_provider_mlops.stats.sequences.comparison import interval_verdict, required_difference
from airflow_provider_mlops.stats.sequences.mean import Moments
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations


@pytest.mark.parametrize(
    ("counts", "margin", "goal", "verdict"),
    [
        ((10, 5000, 12, 5000), 0.01, "non_inferior", "better"),
        ((10, 5000, 12, 5000), 0.0, "non_inferior", "inconclusive"),
        ((200, 5000, 12, 5000), 0.01, "non_inferior", "worse"),
        ((10, 5000, 200, 5000), 0.01, "superior", "better"),
        ((10, 5000, 12, 5000), 0.02, "superior", "worse"),
        ((0, 0, 12, 5000), 0.5, "non_inferior", "inconclusive"),
        ((0, 5, 0, 5), 0.01, "non_inferior", "inconclusive"),
    ],
)
def test_error_rates(counts: tuple[int, int, int, int], margin: float, goal: str, verdict: str) -> None:
    comparison = compare_rates(*counts, what="error rate", greater_is_better=False, margin=margin, goal=goal)  # type: ignore[arg-type]
    assert comparison.verdict == verdict
    assert (comparison.candidate_count, comparison.champion_count) == (counts[1], counts[3])


@settings(max_examples=25)
@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 0.2))
def test_direction_mirrors(candidate: int, champion: int, margin: float) -> None:
    """Fewer failures are as good as more successes."""
    failures = compare_rates(candidate, 300, champion, 300, what="x", greater_is_better=False, margin=margin)
    successes = compare_rates(
        300 - candidate, 300, 300 - champion, 300, what="x", greater_is_better=True, margin=margin
    )
    assert failures.verdict == successes.verdict


def test_too_few_requests_are_inconclusive_whatever_they_say() -> None:
    comparison = compare_rates(100, 100, 0, 100, what="error rate", greater_is_better=False, min_trials=500)
    assert comparison.verdict == "inconclusive"
    assert "too few" in comparison.sentence
    assert compare_rates(100, 100, 0, 100, what="error rate", greater_is_better=False).verdict == "worse"
    limit = compare_rate_with_limit(0, 100, 0.9, what="agreement", greater_is_better=True, min_trials=200)
    assert limit.verdict == "inconclusive"
    assert "too few" in limit.sentence


def test_sentences_name_the_numbers() -> None:
    comparison = compare_rates(450, 9000, 90, 9000, what="error rate", greater_is_better=False, margin=0.01)
    assert comparison.sentence.startswith("Error rate: candidate minus champion is not below 1 points; it is 4 points")
    assert "9,000 observations of the candidate" in comparison.sentence
    agreed = compare_rate_with_limit(9900, 10_000, 0.97, what="agreement", greater_is_better=True)
    assert agreed.verdict == "better"
    assert agreed.sentence.startswith("Agreement is above 0.97: 0.99, 95% interval")
    slow = compare_rate_with_limit(900, 10_000, 0.05, what="share of slow requests", greater_is_better=False)
    assert slow.verdict == "worse"


def test_means_and_bounded_means_agree_on_much_data() -> None:
    generator = np.random.default_rng(1)
    better, worse = generator.beta(3, 2, 20_000), generator.beta(2, 3, 20_000)
    first = compare_means(Moments.of(better), Moments.of(worse), what="score", greater_is_better=True, goal="superior")
    bounded = [BoundedMoments().updated(values, low=0, high=1) for values in (better, worse)]
    second = compare_bounded_means(
        bounded[0], bounded[1], low=0, high=1, what="score", greater_is_better=True, goal="superior", margin=0.1
    )
    assert first.verdict == second.verdict == "better"
    assert first.estimate == pytest.approx(second.estimate)
    assert second.interval.low < first.interval.low < 0.2 < first.interval.high < second.interval.high
    few = compare_means(Moments.of(better[:50]), Moments.of(worse), what="score", greater_is_better=True)
    assert few.verdict == "inconclusive"


def test_bounded_means_keep_their_error_in_two_thousand_streams() -> None:
    """Two arms of the same distribution, looked at forty times; the verdict itself for a few of the streams."""
    values = np.random.default_rng(2).beta(1, 3, (2, 2000, 800))
    n = np.arange(1, 801)
    sums = np.cumsum(values, axis=2)
    predicted = (sums - values + 0.5) / n
    looks = np.arange(19, 800, 20)
    variation = np.cumsum((values - predicted) ** 2, axis=2)[:, :, looks]
    bound = gamma_mixture_bound(variation, prior_observations(400 / 16, 0.025), 0.0125).sum(axis=0)
    excluded = np.abs(sums[1] - sums[0])[:, looks] > bound
    assert np.mean(np.any(excluded, axis=1)) < 0.05
    assert np.abs(sums[1] - sums[0])[:, looks].max() > 0.5 * bound.min()
    for stream in range(5):
        arms = [BoundedMoments().updated(values[arm, stream], low=0, high=1) for arm in (1, 0)]
        verdict = compare_bounded_means(
            *arms, low=0, high=1, what="score", greater_is_better=True, expected_n=400
        ).verdict
        assert (verdict != "inconclusive") == excluded[stream, -1]


def test_what_is_required() -> None:
    assert required_difference(0.02, "superior", True) == 0.02
    assert required_difference(0.02, "superior", False) == -0.02
    assert interval_verdict(Interval(0.0, 0.1), 0.0, True) == "inconclusive"


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: required_difference(-0.1, "superior", True),
        lambda: required_difference(0.1, "best", True),  # type: ignore[arg-type]
        lambda: compare_rate_with_limit(1, 2, 1.5, what="x", greater_is_better=True),
    ):
        with pytest.raises(ValueError, match=r"margin|goal|limit"):
            refused()
