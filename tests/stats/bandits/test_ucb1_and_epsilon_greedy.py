"""UCB1 and epsilon-greedy, and the statistics that all bandits add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.propensity import draw, with_floor
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics, discount_periods
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1

LOGS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=60)
POLICIES = [EpsilonGreedy(0.3), EpsilonGreedy(0.5, decay=20.0), UCB1(), BetaThompson(), GaussianThompson()]


@given(LOGS, st.sampled_from(POLICIES))
def test_replicas_together_decide_as_one_stream(
    log: list[tuple[int, int, int]], policy: EpsilonGreedy | UCB1 | BetaThompson | GaussianThompson
) -> None:
    """Each decision went to one of four replicas; the sum of their statistics is that of all decisions."""
    arms, rewards, replicas = (np.array(part) for part in zip(*log, strict=True))
    whole = RewardStatistics.of(arms, rewards, 3)
    merged = RewardStatistics.empty(3)
    for replica in range(4):
        merged += RewardStatistics.of(arms[replicas == replica], rewards[replicas == replica], 3)
    assert policy.propensities(merged) == pytest.approx(policy.propensities(whole), abs=1e-12)


@given(LOGS, st.sampled_from(POLICIES), st.floats(0.0, 1 / 3))
def test_propensities_sum_to_one_and_keep_the_floor(
    log: list[tuple[int, int, int]], policy: EpsilonGreedy | UCB1 | BetaThompson | GaussianThompson, floor: float
) -> None:
    arms, rewards, _ = (np.array(part) for part in zip(*log, strict=True))
    propensities = with_floor(policy.propensities(RewardStatistics.of(arms, rewards, 3)), floor)
    assert propensities.sum() == pytest.approx(1)
    assert propensities.min() >= floor - 1e-12


def test_ucb1_by_hand() -> None:
    statistics = RewardStatistics.of([0] * 10 + [1] * 5, [1.0] * 6 + [0.0] * 4 + [1.0] * 3 + [0.0] * 2, 2)
    assert UCB1().index(statistics) == pytest.approx([0.6 + np.sqrt(0.2 * np.log(15)), 0.6 + np.sqrt(0.4 * np.log(15))])
    assert UCB1(min_propensity=0.02).propensities(statistics) == pytest.approx([0.02, 0.98])
    assert UCB1().propensities(RewardStatistics.of([0], [1.0], 3)) == pytest.approx([0, 1, 0])


def test_epsilon_greedy_by_hand() -> None:
    statistics = RewardStatistics.of([0, 0, 1, 1, 2], [1, 0, 1, 0, 0], 3)
    assert EpsilonGreedy(0.3).propensities(statistics) == pytest.approx([0.45, 0.45, 0.1])
    assert EpsilonGreedy(0.3, decay=5.0).propensities(statistics) == pytest.approx([0.475, 0.475, 0.05])
    assert EpsilonGreedy(0.3).propensities(RewardStatistics.of([0], [1], 3)) == pytest.approx([0.1, 0.45, 0.45])


def test_many_problems_at_once_are_as_each_alone() -> None:
    generator = np.random.default_rng(1)
    count = generator.integers(1, 20, (30, 4)).astype(float)
    total = generator.binomial(count.astype(int), 0.4).astype(float)
    many = RewardStatistics(count, total, total)
    for policy in (UCB1(), EpsilonGreedy(0.2)):
        propensities = policy.propensities(many)
        for row in range(30):
            alone = RewardStatistics(count[row], total[row], total[row])
            assert propensities[row] == pytest.approx(policy.propensities(alone))


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=8), st.floats(0, 0.999999))
def test_draws_fall_where_the_sums_say(weights: list[float], uniform: float) -> None:
    share = np.array(weights) / np.sum(weights)
    arm = draw(share, uniform)
    assert share[:arm].sum() <= uniform + 1e-9 <= share[: arm + 1].sum() + 2e-9


def test_an_arm_that_cannot_be_is_never_drawn() -> None:
    assert {draw([0.0, 0.3, 0.7, 0.0], uniform) for uniform in np.linspace(0, 1 - 1e-16, 1001)[:-1]} == {1, 2}
    assert draw([0.1] * 3 + [0.7, 0.0], np.nextafter(1, 0)) == 3


def test_discounted_periods_follow_a_change() -> None:
    """Two periods in which arm 0 was good, and one in which it is not."""
    periods = [RewardStatistics.of([0] * 10 + [1] * 10, [good] * 10 + [0.4] * 10, 2) for good in (0.9, 0.9, 0.0)]
    assert np.argmax(discount_periods(periods, 1.0).mean) == 0
    assert np.argmax(discount_periods(periods, 0.3).mean) == 1
    assert discount_periods(periods, 0.5).count == pytest.approx([17.5, 17.5])
    assert discount_periods(periods[-1:], 1.0).mean == pytest.approx([0.0, 0.4])


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: RewardStatistics.of([3], [1.0], 3),
        lambda: RewardStatistics.of([0, 1], [1.0], 3),
        lambda: RewardStatistics.of([0], [float("nan")], 3),
        lambda: EpsilonGreedy(1.5),
        lambda: EpsilonGreedy(decay=0.0),
        lambda: UCB1(width=0.0),
        lambda: with_floor([0.5, 0.5], 0.6),
        lambda: discount_periods([], 0.5),
        lambda: discount_periods([RewardStatistics.empty(2)], 0.0),
    ):
        with pytest.raises(ValueError, match=r"arms|finite|epsilon|decay|width|minimum|period|factor"):
            refused()
