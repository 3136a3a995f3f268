"""Two rates that vary together: known shares of the requests keep the comparison exact."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.stats.sequences.concurrent_rates import (
    ConcurrentCounts,
    concurrent_rate_difference,
    fits_shares,
    log_evidence_of_greater,
)
from airflow_provider_mlops.stats.sequences.rate_difference import rate_difference_bounds

STREAMS, LOOKS, EVERY = 400, 60, 250
MOST_WRONG = int(stats.binom.ppf(0.999, STREAMS, 0.05))


@pytest.mark.parametrize("expects", [False, True])
def test_the_evidence_is_a_supermartingale_at_the_tested_difference(expects: bool) -> None:
    """Oracle: enumerate all outcomes of three requests, with rates that change from request to request.

    If `expects`, what is expected of a request depends on the failures before it.
    """
    share, difference = 0.2, 0.1
    rates = [(0.05, 0.15), (0.6, 0.7), (0.0, 0.1)]
    evidence = 0.0
    for outcomes in itertools.product((0, 1), repeat=6):
        probability, failures = 1.0, 0
        own, other = np.zeros((2, 4)), np.zeros((2, 4))
        for (champion, candidate), is_candidate, fails in zip(rates, outcomes[::2], outcomes[1::2], strict=True):
            rate = candidate if is_candidate else champion
            probability *= (share if is_candidate else 1 - share) * (rate if fails else 1 - rate)
            (own if is_candidate else other)[:, failures if expects else 0] += (fails, 1)
            failures += fails
        arms = [(arm[0], arm[1]) for arm in (own, other)]
        log_evidence = log_evidence_of_greater(
            *arms, np.full(4, share), np.array([difference]), np.array([0.0, 0.3, 0.9, 1.0])
        )
        evidence += probability * math.exp(float(log_evidence))
    assert evidence == pytest.approx(1.0)


def test_an_outage_that_is_expected_hardly_widens_the_interval() -> None:
    usual = ConcurrentCounts(40, 4000, 40, 4000, 0.5)
    widths = []
    for expected in (0.0, 0.9):
        low, high = concurrent_rate_difference([usual, ConcurrentCounts(500, 500, 500, 500, 0.5, expected)])
        widths.append(high - low)
    low, high = concurrent_rate_difference([usual])
    assert widths[0] > 2 * (high - low)
    assert widths[1] < 1.3 * (high - low)


@pytest.mark.parametrize("expected", [0.0, 0.4, 1.0])
def test_a_difference_is_found_whatever_was_expected(expected: float) -> None:
    counts = ConcurrentCounts(300, 1000, 100, 1000, 0.5, expected)
    low, high = concurrent_rate_difference([counts])
    assert 0.05 < low < 0.2 < high


def outage_streams(rule: str) -> np.ndarray:
    """Equal versions in canary steps; in the second one, everything fails for a while. Whether a stream ever errs."""
    generator, wrong = np.random.default_rng(1), np.zeros(STREAMS, dtype=bool)
    shares = np.array([0.05, 0.25, 0.5])
    n, x = np.zeros((2, STREAMS, 3)), np.zeros((2, STREAMS, 3))
    for look in range(LOOKS):
        step = look * 3 // LOOKS
        rate = 1.0 if 24 <= look < 28 else 0.01
        own = generator.binomial(EVERY, shares[step], STREAMS)
        for arm, count in ((0, EVERY - own), (1, own)):
            n[arm, :, step] += count
            x[arm, :, step] += generator.binomial(count, rate)
        zero = np.zeros((STREAMS, 1))
        if rule == "concurrent":
            for own_arm, other_arm, pi in ((1, 0, shares), (0, 1, 1 - shares)):
                arms = [(x[arm], n[arm]) for arm in (own_arm, other_arm)]
                wrong |= log_evidence_of_greater(*arms, pi, zero) >= math.log(40)
        elif look % 6 == 5:
            low, high = rate_difference_bounds(*(part.sum(axis=-1) for part in (x[1], n[1], x[0], n[0])))
            wrong |= (low > 0) | (high < 0)
    return wrong


def test_an_outage_that_hits_both_versions_alike_shows_no_difference() -> None:
    assert outage_streams("concurrent").sum() <= MOST_WRONG


def test_sums_over_steps_with_different_shares_show_one() -> None:
    """So the test above can fail."""
    assert outage_streams("pooled").sum() > STREAMS / 2


def test_a_true_difference_is_found_in_an_outage_too() -> None:
    stretches = [ConcurrentCounts(150, 500, 9000, 9500 + 8550, 0.05), ConcurrentCounts(200, 1000, 60, 3000, 0.25)]
    assert concurrent_rate_difference(stretches[1:]).low > 0.1
    assert concurrent_rate_difference([]) == (-1.0, 1.0)
    assert concurrent_rate_difference([ConcurrentCounts(50, 100, 0, 0, 1.0)]) == (-1.0, 1.0)


def test_exchanging_the_versions_mirrors_the_interval() -> None:
    low, high = concurrent_rate_difference([ConcurrentCounts(40, 1000, 30, 3000, 0.25)])
    mirrored = concurrent_rate_difference([ConcurrentCounts(30, 3000, 40, 1000, 0.75)])
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    low, high = concurrent_rate_difference([ConcurrentCounts(40, 1000, 30, 3000, 0.25, 0.3)])
    mirrored = concurrent_rate_difference([ConcurrentCounts(30, 3000, 40, 1000, 0.75, 0.3)])
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    # A success is what is not a failure; only the bets of the mixture differ.
    exchanged = concurrent_rate_difference([ConcurrentCounts(960, 1000, 2970, 3000, 0.25, 0.7)])
    assert exchanged == pytest.approx((-high, -low), abs=1e-3)


def test_counts_that_do_not_fit_the_shares_are_noticed() -> None:
    generator = np.random.default_rng(2)
    own = generator.binomial(50, 0.1, (200, 100)).cumsum(axis=1)
    trials = 50 * np.arange(1, 101)
    fits = [
        all(fits_shares([ConcurrentCounts(0, n, 0, t - n, 0.1)]) for n, t in zip(row, trials, strict=True))
        for row in own
    ]
    assert all(fits)
    assert not fits_shares([ConcurrentCounts(0, 500, 0, 6000, 0.1)])
