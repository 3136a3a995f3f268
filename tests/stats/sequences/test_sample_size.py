"""Sample sizes of A/B tests against statsmodels, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import power_proportions_2indep, samplesize_proportions_2indep_onetail

from airflow_provider_mlops.stats.sequences.mean import difference_radius
from airflow_provider_mlops.stats.sequences.sample_size import (
    requests_for_means,
    requests_for_rates,
    requests_for_sequence,
)

SHARE, RATE, POWER = st.floats(0.05, 0.95), st.floats(0.005, 0.1), st.floats(0.5, 0.95)


@settings(max_examples=40)
@given(st.floats(0.02, 0.9), st.floats(-0.2, 0.2), SHARE, RATE, POWER)
def test_rates_agree_with_statsmodels(champion: float, effect: float, share: float, rate: float, power: float) -> None:
    """Oracle: `statsmodels.stats.proportion.samplesize_proportions_2indep_onetail` at half the false alarm rate."""
    assume(abs(effect) > 0.005 and 0.01 < champion + effect < 0.99)
    size = requests_for_rates(champion, effect, candidate_share=share, false_alarm_rate=rate, power=power)
    side = "larger" if effect > 0 else "smaller"
    expected = samplesize_proportions_2indep_onetail(
        effect, champion, power, ratio=(1 - share) / share, alpha=rate / 2, alternative=side
    )
    assert size.candidate == pytest.approx(expected, abs=1.01)
    assert size.champion == pytest.approx(expected * (1 - share) / share, abs=1.01)


@pytest.mark.parametrize(("champion", "effect", "share"), [(0.1, 0.02, 0.5), (0.3, -0.05, 0.2), (0.02, 0.02, 0.8)])
def test_the_power_of_that_size_is_what_statsmodels_says(champion: float, effect: float, share: float) -> None:
    size = requests_for_rates(champion, effect, candidate_share=share)
    ratio = size.champion / size.candidate
    power = power_proportions_2indep(effect, champion, size.candidate, ratio=ratio, return_results=False)
    assert power == pytest.approx(0.8, abs=0.005)


@settings(max_examples=40)
@given(st.floats(0.05, 1.5), SHARE, RATE, POWER)
def test_means_agree_with_statsmodels(effect: float, share: float, rate: float, power: float) -> None:
    """Oracle: `statsmodels.stats.power.TTestIndPower`."""
    size = requests_for_means(2.0, 2.0 * effect, candidate_share=share, false_alarm_rate=rate, power=power)
    ratio = (1 - share) / share
    oracle = TTestIndPower()
    assert oracle.power(effect, size.candidate, rate, ratio=ratio) >= power - 1e-6
    if size.candidate > 3 and (size.candidate - 1) * (1 + ratio) > 4:
        assert oracle.power(effect, size.candidate - 1, rate, ratio=ratio) < power + 1e-6


def test_many_requests() -> None:
    """Where a noncentral t distribution has millions of degrees of freedom."""
    size = requests_for_means(1.0, 0.001)
    assert size.candidate == pytest.approx(2 * (1.959964 + 0.841621) ** 2 / 1e-6, rel=1e-4)


def test_the_sequence_reaches_the_promised_power() -> None:
    """By simulation: streams of pairs, looked at after every hundredth; looks before the last can only help."""
    size = requests_for_sequence((1.0, 1.0), 0.2)
    generator, streams = np.random.default_rng(1), 2000
    n = np.arange(1, size.candidate + 1)
    gains = np.cumsum(generator.standard_normal((streams, n.size)) * math.sqrt(2) + 0.2, axis=1) / n
    radius = difference_radius(np.stack([n, n], axis=1), [1.0, 1.0], expected_n=size.candidate)
    excluded = gains > radius
    assert np.mean(excluded[:, -1]) == pytest.approx(0.8, abs=0.03)
    assert 0.8 <= np.mean(np.any(excluded, axis=1)) < 0.9


def test_looking_all_the_time_costs_requests_but_not_many_times_as_many() -> None:
    once, always = requests_for_means(1.0, 0.1), requests_for_sequence((1.0, 1.0), 0.1)
    assert 1.5 * once.total < always.total < 3 * once.total
    assert requests_for_sequence((1.0, 1.0), 0.1, expected_n=100).total > always.total


def test_an_unequal_split_costs_requests() -> None:
    assert requests_for_rates(0.1, 0.02, candidate_share=0.1).total > 2 * requests_for_rates(0.1, 0.02).total
    size = requests_for_sequence((1.0, 1.0), 0.1, candidate_share=0.1)
    assert size.champion == pytest.approx(9 * size.candidate, abs=9)


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: requests_for_rates(0.1, 0.0),
        lambda: requests_for_rates(0.1, -0.2),
        lambda: requests_for_rates(0.1, 0.1, candidate_share=1.0),
        lambda: requests_for_rates(0.1, 0.1, power=0.01),
        lambda: requests_for_means(0.0, 1.0),
        lambda: requests_for_means(1.0, math.nan),
        lambda: requests_for_sequence((1.0, 0.0), 1.0),
    ):
        with pytest.raises(ValueError, match=r"effect|share|power|stds?"):
            refused()
