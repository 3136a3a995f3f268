"""Confidence sequences of differences of rates: by brute force, and under adaptive allocation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence, rate_bounds
from airflow_provider_mlops.stats.sequences.rate_difference import rate_difference_bounds, rate_difference_sequence

COUNTS = st.integers(0, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@settings(max_examples=15)
@example((1, 433), (0, 40), 352.0)
@given(COUNTS, COUNTS, st.floats(5.0, 1e4))
def test_the_ends_are_those_of_all_pairs_on_a_fine_grid(
    candidate: tuple[int, int], champion: tuple[int, int], expected_n: float
) -> None:
    """Oracle: brute force over 640,000 pairs of rates, which are densest next to 0 and 1, as is the set."""
    grid, weight = np.sin(np.linspace(0, np.pi / 2, 801)) ** 2, prior_observations(expected_n, 0.05)
    evidence = log_evidence(*candidate, grid, weight)[:, None] + log_evidence(*champion, grid, weight)[None, :]
    kept = (grid[:, None] - grid[None, :])[evidence < -np.log(0.05)]
    low, high = rate_difference_sequence(*candidate, *champion, expected_n=expected_n)
    # The grid's set lies within the true one, and misses its ends by no more than two of its greatest steps.
    if kept.size:
        assert low - 1e-9 <= kept.min() <= low + 0.004
        assert high - 0.004 <= kept.max() <= high + 1e-9


@settings(max_examples=25)
@example((0, 0), (0, 1))
@given(COUNTS, COUNTS)
def test_arms_and_outcomes_may_be_exchanged(candidate: tuple[int, int], champion: tuple[int, int]) -> None:
    low, high = rate_difference_sequence(*candidate, *champion)
    assert rate_difference_sequence(*champion, *candidate) == pytest.approx((-high, -low), abs=1e-8)
    failures = [(trials - successes, trials) for successes, trials in (candidate, champion)]
    # An end next to 1 is found to two millionths, and one next to 0 more closely.
    assert rate_difference_sequence(*failures[0], *failures[1]) == pytest.approx((-high, -low), abs=1e-5)


@pytest.mark.parametrize("successes", [0, 1, 2, 298, 299, 300])
def test_a_single_success_or_failure(successes: int) -> None:
    """Whose evidence is least next to the end at which such counts are impossible."""
    low, high = rate_difference_sequence(successes, 300, 150, 300)
    mirrored = rate_difference_sequence(300 - successes, 300, 150, 300)
    assert (low, high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
    assert low < successes / 300 - 0.5 < high
    assert high - low > 0.1


def test_many_and_very_unequal_trials() -> None:
    low, high = rate_difference_sequence(3, 50, 40_000, 2_000_000, expected_n=1000)
    assert -0.02 < low < 0.04 < high < 1
    low, high = rate_difference_sequence(1, 10**6, 3, 10**6, expected_n=10**6)
    assert -2e-5 < low < -2e-6 < high < 2e-5


def test_is_narrower_than_two_sequences_at_half_the_error_where_it_is_tuned() -> None:
    joint = rate_difference_sequence(150, 1000, 200, 1000)
    low, high = rate_bounds([150, 200], [1000, 1000], confidence=0.975)
    assert joint.high - joint.low < 0.8 * ((high[0] - low[1]) - (low[0] - high[1]))
    assert rate_difference_sequence(150, 1000, 200, 1000, paired=True) == pytest.approx(
        (low[0] - high[1], high[0] - low[1])
    )


def streams_that_ever_miss(rates: tuple[float, float], rule: str, looks: int, expected_n: float) -> tuple[float, float]:
    """Shares of 2,000 streams whose joint set ever misses the pair, and whose interval ever misses the difference.

    The interval can only miss when the set does, so it is computed for those streams alone, now and then.
    """
    generator = np.random.default_rng(4)
    streams, weight, limit = 2000, prior_observations(expected_n, 0.05), -np.log(0.05)
    successes, trials = np.zeros((streams, 2)), np.zeros((streams, 2))
    set_missed, missed = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
    everyone = np.arange(streams)
    for look in range(looks):
        if rule == "winner":  # the arm that looks better gets nine of ten
            best = np.argmax((successes + 1) / (trials + 2), axis=1)
            arm = np.where(generator.random(streams) < 0.9, best, 1 - best)
        elif rule == "loser":
            arm = np.argmin((successes + 1) / (trials + 2), axis=1)
        else:  # canary steps
            arm = (generator.random(streams) < (0.05 if look < looks // 2 else 0.5)).astype(int)
        successes[everyone, arm] += generator.random(streams) < np.array(rates)[arm]
        trials[everyone, arm] += 1
        out = log_evidence(successes, trials, np.array(rates), weight).sum(axis=1) >= limit
        set_missed |= out
        if look % 100 == 99 and np.any(out):
            counts = (successes[out, 1], trials[out, 1], successes[out, 0], trials[out, 0])
            low, high = rate_difference_bounds(*counts, expected_n=expected_n)
            missed[out] |= (rates[1] - rates[0] < low) | (rates[1] - rates[0] > high)
    return float(set_missed.mean()), float(missed.mean())


@pytest.mark.parametrize(
    ("rates", "rule"), [((0.3, 0.3), "winner"), ((0.1, 0.1), "loser"), ((0.05, 0.05), "steps"), ((0.2, 0.5), "winner")]
)
def test_two_thousand_streams_with_an_allocation_that_depends_on_the_past(
    rates: tuple[float, float], rule: str
) -> None:
    set_missed, missed = streams_that_ever_miss(rates, rule, 1000, 300)
    assert missed <= set_missed < 0.05


def test_two_thousand_paired_streams() -> None:
    """Both arms answer the same requests, and err on the same ones."""
    generator = np.random.default_rng(5)
    hard = generator.random((2000, 1500)) < 0.2
    both = [np.cumsum(hard & (generator.random(hard.shape) < 0.9), axis=1) for _ in range(2)]
    trials, weight = np.arange(1, 1501), prior_observations(500, 0.025)
    out = [log_evidence(successes, trials, 0.18, weight) >= -np.log(0.025) for successes in both]
    assert np.mean(np.any(out[0] | out[1], axis=1)) < 0.05
    last = rate_difference_bounds(both[0][:, -1], 1500, both[1][:, -1], 1500, paired=True, expected_n=500)
    assert np.mean((last[0] > 0) | (last[1] < 0)) < 0.05


def test_no_trials_say_nothing() -> None:
    assert rate_difference_sequence(0, 0, 0, 0) == pytest.approx((-1, 1))
    low, high = rate_difference_sequence(0, 0, 50, 100)
    assert low < -0.6
    assert high > 0.6


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="successes"):
        rate_difference_sequence(3, 2, 0, 0)
    with pytest.raises(ValueError, match="confidence"):
        rate_difference_sequence(1, 2, 0, 1, confidence=0)
