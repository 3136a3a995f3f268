"""Confidence sequences of rates: against SciPy's distributions, and over streams looked at after every trial."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from airflow_provider_mlops.stats.intervals.proportion import clopper_pearson_interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import (
    log_evidence,
    log_evidence_above,
    rate_bounds,
    rate_sequence,
)

COUNTS = st.integers(1, 3000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
RATES = st.floats(0.001, 0.999)


@given(COUNTS, RATES, st.floats(0.5, 200.0))
def test_evidence_is_a_ratio_of_scipys_distributions(counts: tuple[int, int], rate: float, weight: float) -> None:
    """Oracle: `scipy.stats.betabinom` over `scipy.stats.binom`."""
    mixture = stats.betabinom.logpmf(*counts, weight * rate, weight * (1 - rate))
    expected = mixture - stats.binom.logpmf(*counts, rate)
    assert log_evidence(*counts, rate, weight) == pytest.approx(expected, rel=1e-8, abs=1e-7)


@pytest.mark.parametrize(("successes", "trials", "rate", "weight"), [(7, 20, 0.2, 3.0), (3, 50, 0.1, 20.0)])
def test_one_sided_evidence_mixes_over_higher_rates_only(
    successes: int, trials: int, rate: float, weight: float
) -> None:
    """Oracle: numerical integration of the likelihood ratio over the mixing density cut off at the rate."""
    mixing = stats.beta(weight * rate, weight * (1 - rate))
    fixed = stats.binom.pmf(successes, trials, rate)
    ratio, _ = integrate.quad(lambda p: stats.binom.pmf(successes, trials, p) / fixed * mixing.pdf(p), rate, 1)
    evidence = log_evidence_above(successes, trials, rate, weight)
    assert np.exp(evidence) == pytest.approx(ratio / mixing.sf(rate), rel=1e-6)


@given(COUNTS, st.floats(1.0, 1e5), st.floats(0.5, 0.999))
def test_the_ends_are_where_the_evidence_reaches_the_limit(
    counts: tuple[int, int], expected_n: float, confidence: float
) -> None:
    low, high = rate_sequence(*counts, confidence=confidence, expected_n=expected_n)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    weight = prior_observations(expected_n, 1 - confidence)
    for end in (low, high):
        if 1e-12 < end < 1 - 1e-12:
            assert log_evidence(*counts, end, weight) == pytest.approx(-np.log(1 - confidence), abs=1e-5)


@given(COUNTS, RATES, RATES, st.floats(0.5, 1e4))
def test_evidence_is_convex_in_the_rate(counts: tuple[int, int], first: float, second: float, weight: float) -> None:
    """What makes the set that is left an interval."""
    middle = log_evidence(*counts, (first + second) / 2, weight)
    ends = (log_evidence(*counts, first, weight) + log_evidence(*counts, second, weight)) / 2
    assert middle <= ends + 1e-8 * (1 + abs(ends))


@given(COUNTS, st.floats(1.0, 1e5))
def test_one_sided_evidence_falls_up_to_the_one_crossing(counts: tuple[int, int], expected_n: float) -> None:
    """No rate below the lower bound is left: bisection has found the first crossing, not just some."""
    low = rate_sequence(*counts, expected_n=expected_n, side="low").low
    weight = prior_observations(expected_n, 0.1)
    evidence = log_evidence_above(*counts, low * np.linspace(0.001, 0.999, 200), weight)
    assert low == 0 or np.all(evidence >= -np.log(0.05) - 1e-6)


@given(COUNTS, st.floats(1.0, 1e5))
def test_sides_mirror_and_are_no_wider(counts: tuple[int, int], expected_n: float) -> None:
    successes, trials = counts
    one = rate_sequence(successes, trials, expected_n=expected_n, side="low")
    other = rate_sequence(trials - successes, trials, expected_n=expected_n, side="high")
    assert one.high == 1
    assert other.low == 0
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


def test_is_wider_than_the_interval_for_one_look() -> None:
    for counts in ((0, 50), (3, 1000), (500, 1000), (40, 50_000)):
        low, high = rate_sequence(*counts)
        once = clopper_pearson_interval(*counts)
        assert low <= once.low
        assert high >= once.high


@pytest.mark.parametrize(("rate", "expected_n"), [(0.01, 1000), (0.3, 1000), (0.3, 50), (0.98, 10_000)])
def test_two_thousand_streams_looked_at_after_every_trial(rate: float, expected_n: float) -> None:
    generator = np.random.default_rng(1)
    successes = np.cumsum(generator.random((2000, 3000)) < rate, axis=1)
    trials = np.arange(1, 3001)
    evidence = log_evidence(successes, trials, rate, prior_observations(expected_n, 0.05))
    missed = np.mean(np.any(evidence >= -np.log(0.05), axis=1))
    assert missed < 0.05
    # A test that could not fail would say nothing: the interval for one look misses much more often.
    spread = 1.96 * np.sqrt(rate * (1 - rate) / trials)
    assert np.mean(np.any(np.abs(successes / trials - rate)[:, 50:] > spread[50:], axis=1)) > 0.2


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_two_thousand_streams_one_sided(rate: float) -> None:
    generator = np.random.default_rng(2)
    successes = np.cumsum(generator.random((2000, 600)) < rate, axis=1)
    evidence = log_evidence_above(successes, np.arange(1, 601), rate, prior_observations(300, 0.1))
    assert np.mean(np.any(evidence >= -np.log(0.05), axis=1)) < 0.05


def test_two_thousand_streams_of_values_between_the_bounds() -> None:
    """The sum of any values between 0 and 1 may stand for the successes."""
    generator = np.random.default_rng(3)
    values = generator.beta(0.5, 1.5, (2000, 2000))
    evidence = log_evidence(np.cumsum(values, axis=1), np.arange(1, 2001), 0.25, prior_observations(1000, 0.05))
    assert np.mean(np.any(evidence >= -np.log(0.05), axis=1)) < 0.05


def test_the_interval_leaves_out_what_the_evidence_rejects() -> None:
    """The duality that the stream tests rest on."""
    successes, trials = np.meshgrid(np.arange(0, 101, 7), [100])
    low, high = rate_bounds(successes, trials, expected_n=100)
    for rate in (0.0, 0.02, 0.3, 0.77, 1.0):
        rejected = log_evidence(successes, trials, rate, prior_observations(100, 0.05)) >= -np.log(0.05)
        assert np.array_equal(rejected, (rate < low) | (rate > high))


def test_the_tuning_is_tightest_where_it_says() -> None:
    widths = {tuned: np.ptp(rate_sequence(600, 2000, expected_n=tuned)) for tuned in (200, 2000, 20_000)}
    assert min(widths, key=widths.__getitem__) == 2000


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: rate_sequence(3, 2),
        lambda: rate_sequence(-1, 2),
        lambda: rate_sequence(1, float("nan")),
        lambda: rate_sequence(1, 2, confidence=1.0),
        lambda: rate_sequence(1, 2, expected_n=0),
        lambda: prior_observations(10, 0.0),
    ):
        with pytest.raises(ValueError, match=r"successes|confidence|expected_n|error"):
            refused()


def test_no_trials_say_nothing() -> None:
    assert rate_sequence(0, 0) == (0, 1)
