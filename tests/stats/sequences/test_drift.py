"""Drift of predictions between two arms: the ball by brute force, and over streams looked at after every request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.sequences.compare_drift import compare_drift
from airflow_provider_mlops.stats.sequences.drift import drift_sequence, log_evidence_of_drift, log_likelihood_gap
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence

COUNTS = st.lists(st.integers(0, 300), min_size=3, max_size=3)
SHARES = np.array([0.6, 0.25, 0.1, 0.05])


@given(COUNTS)
def test_evidence_is_a_ratio_of_scipys_distributions(counts: list[int]) -> None:
    """Oracle: `scipy.stats.dirichlet_multinomial` over `scipy.stats.multinomial`."""
    # Older versions of SciPy know no distribution of nothing.
    assume(sum(counts) > 0)
    prior, shares = np.array([2.0, 1.0, 0.5]), np.array([0.5, 0.3, 0.2])
    mixture = stats.dirichlet_multinomial(prior, sum(counts)).logpmf(counts)
    expected = mixture - stats.multinomial(sum(counts), shares).logpmf(counts)
    assert log_evidence_of_drift(counts, shares, prior) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20)
@given(COUNTS, COUNTS)
def test_the_interval_holds_all_pairs_that_the_product_keeps(first: list[int], second: list[int]) -> None:
    """Oracle: random pairs of distributions, kept where neither arm's evidence nor their sum rejects them."""
    if not sum(first) or not sum(second):
        return
    low, high = drift_sequence(first, second, expected_n=200).interval
    generator = np.random.default_rng(0)
    pairs = [generator.dirichlet(np.array(counts) + 1.0, 300) for counts in (first, second)]
    prior = prior_observations(200, 0.025) / 3 + np.full(3, 0.5)
    weight = prior_observations(200, 0.025 / 3)
    for p, q in zip(*pairs, strict=True):
        kept = log_evidence_of_drift(first, p, prior) + log_evidence_of_drift(second, q, prior) < -np.log(0.025)
        cells = log_evidence(first, sum(first), p, weight) + log_evidence(second, sum(second), q, weight)
        if kept and np.all(cells < -np.log(0.025 / 3)):
            assert low - 1e-9 <= np.abs(p - q).sum() / 2 <= high + 1e-9


@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_two_thousand_streams_looked_at_after_every_request(moved: float) -> None:
    """The interval can only miss where one of the sets misses, so that is what is counted. Allocation follows drift."""
    generator, streams, looks = np.random.default_rng(1), 2000, 600
    other = SHARES + moved * np.array([-1, 1, 0, 0])
    ends = np.cumsum([SHARES, other], axis=1)
    counts = np.zeros((2, streams, 4))
    prior = prior_observations(300, 0.025) * SHARES + 0.5
    weight = prior_observations(300, 0.025 / 4)
    missed, everyone = np.zeros(streams, dtype=bool), np.arange(streams)
    log_shares = np.log([SHARES, other])
    from scipy.special import gammaln

    for _ in range(looks):
        ahead = counts[1, :, 0] * counts[0].sum(axis=1) > counts[0, :, 0] * counts[1].sum(axis=1)
        arm = np.where(generator.random(streams) < 0.2, 1 - ahead, ahead).astype(int)
        cell = (generator.random(streams)[:, None] > ends[arm]).sum(axis=1).clip(max=3)
        counts[arm, everyone, cell] += 1
        trials = counts.sum(axis=2)
        mixture = (gammaln(prior + counts) - gammaln(prior)).sum(axis=2) + gammaln(prior.sum())
        mixture -= gammaln(prior.sum() + trials)
        balls = (mixture - (counts * log_shares[:, None, :]).sum(axis=2)).sum(axis=0) >= -np.log(0.025)
        cells = log_evidence(counts[0], trials[0][:, None], SHARES, weight)
        cells = cells + log_evidence(counts[1], trials[1][:, None], other, weight)
        missed |= balls | np.any(cells >= -np.log(0.025 / 4), axis=1)
    assert missed.mean() < 0.05
    at_the_end = [drift_sequence(counts[1, stream], counts[0, stream], SHARES, expected_n=300) for stream in range(50)]
    assert sum(not low <= moved <= high for low, high in (drift.interval for drift in at_the_end)) <= 3


def test_finds_drift_and_its_absence() -> None:
    generator = np.random.default_rng(2)
    champion = generator.multinomial(20_000, SHARES)
    same, moved = generator.multinomial(20_000, SHARES), generator.multinomial(20_000, [0.4, 0.45, 0.1, 0.05])
    drifted = drift_sequence(moved, champion, SHARES, expected_n=10_000)
    assert compare_drift(drifted, 0.1).verdict == "worse"
    assert compare_drift(drifted, 0.3).verdict == "better"
    still = drift_sequence(same, champion, SHARES, expected_n=10_000)
    assert compare_drift(still, 0.05).verdict == "better"
    few = drift_sequence([10, 2, 1, 0], [9, 3, 0, 1])
    assert compare_drift(few, 0.05).verdict == "inconclusive"
    assert compare_drift(drifted, 0.1, min_count=50_000).verdict == "inconclusive"


def test_paired_answers_get_a_wider_interval() -> None:
    counts = np.array([600, 250, 100, 50])
    apart, paired = (drift_sequence(counts, counts, SHARES, paired=flag).interval for flag in (False, True))
    assert paired.high > apart.high


def test_the_ball_shrinks_with_a_prior_that_is_right() -> None:
    counts = 1000 * SHARES
    assert log_likelihood_gap(counts, 100 * SHARES) < log_likelihood_gap(counts, 100 * SHARES[::-1])


def test_unseen_cells() -> None:
    assert log_evidence_of_drift([0, 1], [1.0, 0.0], [0.5, 0.5]) == np.inf
    assert drift_sequence([0, 0, 5], [0, 5, 0], [1, 0, 0]).interval.high == 1
    assert drift_sequence([0, 0], [5, 5]).interval == (0, 1)


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: drift_sequence([1], [1]),
        lambda: drift_sequence([1, 2], [1, 2, 3]),
        lambda: drift_sequence([1, 2], [1, 2], [1, -1]),
        lambda: drift_sequence([1, 2], [1, 2], confidence=1),
        lambda: compare_drift(drift_sequence([1, 2], [1, 2]), 0.0),
    ):
        with pytest.raises(ValueError, match=r"cells|equal length|proportions|confidence|max_distance"):
            refused()
