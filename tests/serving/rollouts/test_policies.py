"""Policies: the shares they promise are the shares they give, and keys stay where they were."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.policy.policy import Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.rollouts.policies.bandit import Bandit
from airflow_provider_mlops.serving.rollouts.policies.canary import Canary
from airflow_provider_mlops.serving.rollouts.policies.contextual import Contextual
from airflow_provider_mlops.serving.rollouts.policies.shadow import Shadow
from airflow_provider_mlops.serving.rollouts.policies.split import Split
from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1

CHAMPION, CANDIDATE, THIRD = Arm("champion", 1), Arm("candidate", 2), Arm("third", 3)
REWARDS = RewardStatistics.of([0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 0], 2)
ENCODING = FeatureEncoding(numbers={"hour": (12.0, 6.0)}, categories={"place": ("north", "south")})
LINEAR = LinearStatistics.of(
    [0, 1, 0, 1],
    [ENCODING.encode({"hour": hour, "place": "north"}) for hour in (3, 9, 15, 21)],
    [0.2, 0.6, 0.5, 0.4],
    2,
)
PAIR = (CHAMPION, CANDIDATE)
POLICIES: dict[str, Policy] = {
    "direct": Direct(1),
    "shadow": Shadow(CHAMPION, CANDIDATE, 0.3),
    "canary": Canary(CHAMPION, CANDIDATE, 0.2, "a"),
    "split": Split((*PAIR, THIRD), (0.5, 0.2, 0.3), "a"),
    "split with an empty arm": Split((*PAIR, THIRD), (0.5, 0.0, 0.5), "a"),
    "thompson beta": Bandit(PAIR, BetaThompson(), REWARDS),
    "thompson gaussian": Bandit(PAIR, GaussianThompson(), REWARDS),
    "ucb1": Bandit(PAIR, UCB1(min_propensity=0.1), REWARDS),
    "epsilon greedy": Bandit(PAIR, EpsilonGreedy(0.3), REWARDS),
    "linucb": Contextual(PAIR, LinUCB(min_propensity=0.2), ENCODING, LINEAR),
    "linear thompson": Contextual(PAIR, LinearThompson(), ENCODING, LINEAR),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("context", [None, {"hour": 20, "place": "north"}])
def test_the_propensity_is_the_probability_of_the_choice(name: str, context: dict[str, Any] | None) -> None:
    policy, generator = POLICIES[name], random.Random(1)
    choices = Counter(policy.choose(RoutingRequest(context=context, random=generator.random)) for _ in range(4000))
    assert sum(choice.propensity for choice in choices) == pytest.approx(1)
    for choice, count in choices.items():
        # One of some thirty such tests may fail by chance once in a thousand runs.
        assert stats.binomtest(count, 4000, min(choice.propensity, 1.0)).pvalue > 1e-4
    assert sum(policy.weights().values()) == pytest.approx(1)
    if context is None:
        assert {(c.version, c.arm): c.propensity for c in choices} == {k: v for k, v in policy.weights().items() if v}


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("name", POLICIES)
def test_no_arm_without_weight_is_chosen_at_the_ends(name: str, number: float) -> None:
    choice = POLICIES[name].choose(RoutingRequest(random=lambda: number))
    assert choice.propensity > 0
    assert POLICIES[name].weights().get((choice.version, choice.arm), 1) > 0


def sticky_policies(weight: float, salt: str) -> list[Policy]:
    return [Canary(CHAMPION, CANDIDATE, weight, salt), Split(PAIR, (1 - weight, weight), salt)]


def chosen(policy: Policy, key: str) -> Choice:
    def never() -> float:
        raise AssertionError("the key decides, and chance does not")

    return policy.choose(RoutingRequest(key=key, random=never))


@pytest.mark.parametrize("kind", [0, 1])
def test_weights_are_kept_over_keys(kind: int) -> None:
    for weight in (0.0, 0.05, 0.5, 1.0):
        policy = sticky_policies(weight, "rollout")[kind]
        count = sum(chosen(policy, f"user-{number}").version == 2 for number in range(5000))
        assert stats.binomtest(count, 5000, weight).pvalue > 1e-3


@given(key=st.text(), low=st.floats(0, 1), high=st.floats(0, 1), salt=st.text(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_raising_a_weight_takes_no_key_away(key: str, low: float, high: float, salt: str) -> None:
    low, high = sorted((low, high))
    for before, after in zip(sticky_policies(low, salt), sticky_policies(high, salt), strict=True):
        assert chosen(before, key) == chosen(before, key)
        assert chosen(before, key).version <= chosen(after, key).version


@given(keys=st.lists(st.text(), min_size=1, max_size=20), raised=st.integers(0, 2), by=st.floats(0.01, 10))
@settings(max_examples=100, deadline=None)
def test_keys_move_only_to_the_arm_whose_weight_is_raised(keys: list[str], raised: int, by: float) -> None:
    arms, before = (*PAIR, THIRD), np.array([0.2, 0.5, 0.3])
    after = before.copy()
    after[raised] += by
    splits = [Split(arms, tuple(weights / weights.sum()), "rollout") for weights in (before, after)]
    for key in keys:
        old, new = (chosen(split, key).version for split in splits)
        assert new in (old, arms[raised].version)


def test_rollouts_share_out_the_same_keys_independently() -> None:
    arms = [
        [chosen(Split(PAIR, (0.5, 0.5), salt), f"user-{number}").version for number in range(4000)]
        for salt in ("one", "two")
    ]
    table = Counter(zip(*arms, strict=True))
    counts = [[table[1, 1], table[1, 2]], [table[2, 1], table[2, 2]]]
    assert stats.chi2_contingency(counts).pvalue > 1e-3


def test_a_key_is_sent_to_the_same_arm_by_every_release() -> None:
    """As hashlib says without our code. A change would show users another version in the middle of a rollout."""
    split = Split(PAIR, (0.5, 0.5), "f00d")
    assert [chosen(split, key).version for key in ("ada", "grace", "", "日本", "\ud800")] == [1, 1, 2, 1, 1]


def test_a_shadow_gets_its_share() -> None:
    shadow, generator = Shadow(CHAMPION, CANDIDATE, 0.3), random.Random(2)
    copies = [shadow.copy(RoutingRequest(random=generator.random)) for _ in range(4000)]
    count = sum(copy is not None for copy in copies)
    assert stats.binomtest(count, 4000, 0.3).pvalue > 1e-3
    assert set(copies) == {None, Choice(2, "candidate", 0.3)}


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.6), (-0.5, 1.5)])
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Split(PAIR, weights, "a")
    with pytest.raises(ValueError, match="weight"):
        Canary(CHAMPION, CANDIDATE, weights[-1] * 3, "a")
