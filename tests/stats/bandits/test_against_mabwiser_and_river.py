"""The same streams of decisions and rewards through our policies, mabwiser's and river's.

Both are development dependencies; without them these tests are skipped.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, RidgeFit
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1

ARMS = [0, 1, 2]
RATES = np.array([0.3, 0.5, 0.45])


@pytest.fixture(scope="module")
def mab() -> Any:
    return pytest.importorskip("mabwiser.mab", reason="mabwiser, an oracle for bandits, is not installed")


@pytest.fixture(scope="module")
def river() -> Any:
    return pytest.importorskip("river.bandit", reason="river, an oracle for bandits, is not installed")


@pytest.fixture(scope="module")
def river_proba() -> Any:
    return pytest.importorskip("river.proba", reason="river, an oracle for bandits, is not installed")


def stream(decisions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    arms = np.concatenate([ARMS, generator.integers(0, 3, decisions - 3)])
    return arms, (generator.random(decisions) < RATES[arms]).astype(int)


@pytest.mark.parametrize("seed", range(5))
def test_ucb1_makes_the_decisions_of_mabwiser(mab: Any, seed: int) -> None:
    """Both drive a problem by their own decisions, on the same table of rewards; mabwiser also gives its indices."""
    rewards = np.random.default_rng(seed).random((300, 3)) < RATES
    statistics = RewardStatistics.of(ARMS, [int(rewards[arm, arm]) for arm in ARMS], 3)
    for step in range(3, 300):
        expected = mab.MAB(ARMS, mab.LearningPolicy.UCB1(alpha=1.0))
        told = [(arm, reward) for arm in ARMS for reward in _rewards_of(statistics, arm)]
        expected.fit([arm for arm, _ in told], [reward for _, reward in told])
        indices = expected.predict_expectations()
        assert UCB1().index(statistics) == pytest.approx([indices[arm] for arm in ARMS])
        arm = int(UCB1().propensities(statistics).argmax())
        assert arm == expected.predict()
        statistics += RewardStatistics.of([arm], [int(rewards[step, arm])], 3)


def _rewards_of(statistics: RewardStatistics, arm: int) -> list[int]:
    """Rewards of 0 and 1 with the arm's sums."""
    wins = int(statistics.total[arm])
    return [1] * wins + [0] * (int(statistics.count[arm]) - wins)


@pytest.mark.parametrize("seed", range(5))
def test_ucb1_makes_the_decisions_of_river(river: Any, seed: int) -> None:
    """On the same table of rewards, step by step, where the best index is not shared by two arms."""
    rewards = np.random.default_rng(seed).random((300, 3)) < RATES
    oracle, statistics = river.UCB(delta=1.0, seed=1), RewardStatistics.empty(3)
    for step in range(300):
        theirs = step if step < 3 else oracle.pull(ARMS)
        index = UCB1().index(statistics)
        if step >= 3 and np.sum(index > index.max() - 1e-12) == 1:
            assert theirs == int(UCB1().propensities(statistics).argmax())
        oracle.update(theirs, int(rewards[step, theirs]))
        statistics += RewardStatistics.of([theirs], [int(rewards[step, theirs])], 3)


def test_thompson_draws_arms_as_often_as_mabwiser(mab: Any) -> None:
    arms, rewards = stream(40, 1)
    expected = BetaThompson().propensities(RewardStatistics.of(arms, rewards, 3))
    oracle = mab.MAB(ARMS, mab.LearningPolicy.ThompsonSampling(), seed=7)
    oracle.fit(arms, rewards)
    counts = np.bincount([oracle.predict() for _ in range(5000)], minlength=3)
    assert stats.chisquare(counts, expected * 5000).pvalue > 0.001


def test_thompson_draws_arms_as_often_as_river(river: Any, river_proba: Any) -> None:
    arms, rewards = stream(40, 2)
    expected = BetaThompson().propensities(RewardStatistics.of(arms, rewards, 3))
    oracle = river.ThompsonSampling(reward_obj=river_proba.Beta(1, 1), seed=7)
    for arm, reward in zip(arms, rewards, strict=True):
        oracle.update(int(arm), bool(reward))
    counts = np.bincount([oracle.pull(ARMS) for _ in range(5000)], minlength=3)
    assert stats.chisquare(counts, expected * 5000).pvalue > 0.001


def test_epsilon_greedy_takes_arms_as_often_as_both(mab: Any, river: Any) -> None:
    arms, rewards = stream(60, 3)
    statistics = RewardStatistics.of(arms, rewards, 3)
    assert len(set(statistics.mean)) == 3
    expected = EpsilonGreedy(0.3).propensities(statistics)
    first = mab.MAB(ARMS, mab.LearningPolicy.EpsilonGreedy(epsilon=0.3), seed=5)
    first.fit(arms, rewards)
    second = river.EpsilonGreedy(epsilon=0.3, seed=5)
    for arm, reward in zip(arms, rewards, strict=True):
        second.update(int(arm), int(reward))
    for pull in (first.predict, lambda: second.pull(ARMS)):
        counts = np.bincount([pull() for _ in range(5000)], minlength=3)
        assert stats.chisquare(counts, expected * 5000).pvalue > 0.001


def contextual_stream(decisions: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = np.column_stack([np.ones(decisions), generator.normal(size=(decisions, 2))])
    arms = np.concatenate([ARMS, generator.integers(0, 3, decisions - 3)])
    coefficients = np.array([[0.2, 0.5, 0], [0.4, -0.3, 0.2], [0.1, 0, 0.6]])
    return arms, features, (features * coefficients[arms]).sum(axis=1) + 0.3 * generator.normal(size=decisions)


@pytest.mark.parametrize("seed", range(5))
def test_linucb_has_the_indices_and_decisions_of_mabwiser(mab: Any, seed: int) -> None:
    arms, features, rewards = contextual_stream(120, seed)
    requests = np.random.default_rng(seed + 100).normal(size=(50, 3))
    oracle = mab.MAB(ARMS, mab.LearningPolicy.LinUCB(alpha=1.5, l2_lambda=2.0))
    oracle.fit(arms, rewards, features)
    fit = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3), strength=2.0)
    policy = LinUCB(exploration=1.5)
    expected = np.array([[one[arm] for arm in ARMS] for one in oracle.predict_expectations(requests)])
    assert policy.index(fit, requests) == pytest.approx(expected)
    assert np.array_equal(policy.propensities(fit, requests).argmax(axis=1), oracle.predict(requests))


def test_linear_thompson_has_the_posteriors_of_mabwiser(mab: Any) -> None:
    """mabwiser gives each arm's model a copy of one generator, so that its draws for different arms are the same ones.

    Each arm's draws have the right law, which is compared; shuffled they are independent, as the algorithm wants them.
    """
    arms, features, rewards = contextual_stream(30, 1)
    request, generator = np.array([1.0, 0.1, -0.2]), np.random.default_rng(1)
    oracle = mab.MAB(ARMS, mab.LearningPolicy.LinTS(alpha=0.8, l2_lambda=1.0), seed=3)
    oracle.fit(arms, rewards, features)
    fit = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3))
    drawn = oracle.predict_expectations(np.tile(request, (5000, 1)))
    scores = np.array([[one[arm] for arm in ARMS] for one in drawn])
    means, stds = fit.means(request), 0.8 * fit.stds(request)
    for arm in ARMS:
        assert stats.kstest(scores[:, arm], stats.norm(means[arm], stds[arm]).cdf).pvalue > 0.001
    expected = LinearThompson(0.8).propensities(fit, request)
    assert expected.min() > 0.01
    shuffled = np.stack([generator.permutation(scores[:, arm]) for arm in ARMS], axis=1)
    counts = np.bincount(shuffled.argmax(axis=1), minlength=3)
    assert stats.chisquare(counts, expected * 5000).pvalue > 0.001


@pytest.mark.skipif(
    tuple(map(int, version("river").split(".")[:2])) < (0, 26), reason="LinUCB of river before 0.26 is another one"
)
@pytest.mark.parametrize("seed", range(3))
def test_linucb_makes_the_decisions_of_river(river: Any, seed: int) -> None:
    """river's model has a noise of precision beta; it adds the standard deviation of an outcome, not of a mean."""
    arms, features, rewards = contextual_stream(120, seed)
    oracle = river.LinUCBDisjoint(alpha=2.0, beta=1.0, seed=1)
    statistics = LinearStatistics.of(arms, features, rewards, 3)
    for arm, x, reward in zip(arms, features, rewards, strict=True):
        oracle.update(int(arm), dict(enumerate(x)), float(reward))
    fit = RidgeFit.of(statistics, strength=2.0)
    for x in np.random.default_rng(seed + 100).normal(size=(50, 3)):
        index = fit.means(x) + np.sqrt(1 + fit.stds(x) ** 2)
        assert oracle.pull(ARMS, dict(enumerate(x))) == int(index.argmax())
