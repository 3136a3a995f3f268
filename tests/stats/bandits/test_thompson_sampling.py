"""Thompson sampling for rates and means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from airflow_provider_mlops.stats.bandits.lai_robbins import lai_robbins_bound_of_means, lai_robbins_bound_of_rates
from airflow_provider_mlops.stats.bandits.propensity import draw
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson

POLICIES = [BetaThompson(), GaussianThompson(prior_mean=0.5), GaussianThompson(known_std=0.4)]


@pytest.mark.parametrize("policy", POLICIES, ids=["beta", "gaussian", "known noise"])
def test_propensities_are_the_frequencies_of_posterior_draws(policy: BetaThompson | GaussianThompson) -> None:
    """By a chi-square test: what is computed is the law of what textbooks draw."""
    generator = np.random.default_rng(1)
    statistics = RewardStatistics.of(generator.integers(0, 4, 60), (generator.random(60) < 0.4).astype(float), 4)
    many = RewardStatistics.empty(100_000, 4) + statistics
    counts = np.bincount(policy.sample(many, generator), minlength=4)
    expected = policy.propensities(statistics)
    assert expected.sum() == pytest.approx(1)
    assert stats.chisquare(counts, expected * counts.sum()).pvalue > 0.001


def test_the_arms_that_are_drawn_follow_the_propensities() -> None:
    generator = np.random.default_rng(2)
    policy = BetaThompson(min_propensity=0.05)
    propensities = policy.propensities(RewardStatistics.of([0, 1, 1, 2, 2], [1, 0, 1, 0, 0], 3))
    counts = np.bincount([draw(propensities, generator.random()) for _ in range(20_000)], minlength=3)
    assert stats.chisquare(counts, propensities * 20_000).pvalue > 0.001
    assert propensities.min() >= 0.05


@settings(max_examples=6)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(-2, 2))
def test_the_posterior_of_a_mean_against_integration(rewards: list[float], at: float) -> None:
    """Oracle: the joint density of mean and variance, integrated over the variance."""
    policy = GaussianThompson(prior_mean=0.3, prior_count=0.7, prior_std=1.2, prior_degrees_of_freedom=3.0)
    statistics = RewardStatistics.of([0] * len(rewards), rewards, 1)
    center, scale, degrees_of_freedom = (float(part[0]) for part in policy.posterior(statistics))
    prior = stats.invgamma(1.5, scale=1.5 * 1.2**2)

    def density(mean: float) -> float:
        def joint(log_variance: float) -> float:
            variance = np.exp(log_variance)
            likelihood = np.prod(stats.norm.pdf(rewards, mean, np.sqrt(variance)))
            return float(
                likelihood * stats.norm.pdf(mean, 0.3, np.sqrt(variance / 0.7)) * prior.pdf(variance) * variance
            )

        return integrate.quad(joint, -6, 9, limit=200, epsabs=0, epsrel=1e-8)[0]

    expected = density(at) / density(center)
    ratio = stats.t.pdf(at, degrees_of_freedom, center, scale) / stats.t.pdf(center, degrees_of_freedom, center, scale)
    assert ratio == pytest.approx(expected, rel=1e-4)


def add_rewards(statistics: RewardStatistics, problem: np.ndarray, arm: np.ndarray, reward: np.ndarray) -> None:
    count, total = statistics.count[problem, arm], statistics.total[problem, arm]
    statistics.deviations[problem, arm] += count / (count + 1) * (reward - total / np.maximum(count, 1)) ** 2
    statistics.count[problem, arm] += 1
    statistics.total[problem, arm] += reward


def regrets(
    policy: BetaThompson | GaussianThompson, means: np.ndarray, decisions: int, noise: float | None
) -> np.ndarray:
    """Of 200 seeds at once, after so many decisions."""
    generator, seeds = np.random.default_rng(3), 200
    statistics = RewardStatistics.empty(seeds, means.size)
    regret, everyone = np.zeros(seeds), np.arange(seeds)
    for _ in range(decisions):
        arm = policy.sample(statistics, generator)
        if noise is None:
            reward = (generator.random(seeds) < means[arm]).astype(float)
        else:
            reward = means[arm] + noise * generator.standard_normal(seeds)
        add_rewards(statistics, everyone, arm, reward)
        regret += means.max() - means[arm]
    return regret


@pytest.mark.parametrize("rates", [[0.5, 0.6], [0.1, 0.2, 0.3]])
def test_mean_regret_is_within_a_factor_of_the_bound(rates: list[float]) -> None:
    """Thompson sampling reaches the bound in the limit; after 5,000 decisions it is within a factor of two."""
    regret = regrets(BetaThompson(), np.array(rates), 5000, None)
    assert 0.3 * lai_robbins_bound_of_rates(rates, 5000) < regret.mean() < 2 * lai_robbins_bound_of_rates(rates, 5000)
    uniform = 5000 * (max(rates) - np.mean(rates))
    assert regret.mean() < uniform / 5


@pytest.mark.parametrize(
    "policy", [GaussianThompson(known_std=1.0), GaussianThompson()], ids=["known noise", "unknown"]
)
def test_mean_regret_of_gaussian_rewards_is_within_a_factor_of_the_bound(policy: GaussianThompson) -> None:
    regret = regrets(policy, np.array([0.0, 0.5]), 3000, 1.0)
    assert (
        0.3 * lai_robbins_bound_of_means([0.0, 0.5], 1.0, 3000)
        < regret.mean()
        < 2 * lai_robbins_bound_of_means([0.0, 0.5], 1.0, 3000)
    )


def test_the_bound_by_hand() -> None:
    """Of one worse arm: the gap over the divergence, times the logarithm."""
    divergence = stats.entropy([0.2, 0.8], [0.5, 0.5])
    assert lai_robbins_bound_of_rates([0.5, 0.2], 100) == pytest.approx(np.log(100) * 0.3 / divergence)
    assert lai_robbins_bound_of_means([1.0, 0.0, 1.0], 2.0, 100) == pytest.approx(np.log(100) * 8)


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: BetaThompson(prior_successes=0),
        lambda: BetaThompson().propensities(RewardStatistics.of([0, 1], [2.0, 1.0], 2)),
        lambda: BetaThompson(min_propensity=0.6).propensities(RewardStatistics.empty(2)),
        lambda: GaussianThompson(known_std=0.0),
        lambda: GaussianThompson(prior_count=-1.0),
        lambda: lai_robbins_bound_of_rates([0.0, 0.5], 10),
        lambda: lai_robbins_bound_of_means([0.0, 0.5], 0.0, 10),
        lambda: draw([0.5, 0.5], 1.0),
    ):
        with pytest.raises(ValueError, match=r"prior|rewards|minimum|rates|std|uniform"):
            refused()
