"""Bandits whose rewards are costs, or lie far from 0: who gets the traffic, and who is taken for the best."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_mlops.lifecycle.rollout.best import probabilities_of_best
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.build_policy import build_policy
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from tests.helpers.rollouts import bandit, task

UNBOUNDED: dict[str, Any] = {"low": None, "high": None}


def earned(count: int, mean: float, std: float = 1.0) -> ArmStatistics:
    return ArmStatistics(reward_count=count, reward_total=count * mean, reward_deviations=count * std**2)


def shares(plan: RolloutPlan, champion: ArmStatistics, candidate: ArmStatistics) -> tuple[float, float]:
    """The candidate's share of the requests, and its probability of being the best."""
    state = transitions.started(plan, datetime(2026, 1, 1, tzinfo=UTC), "task")
    arms = {"champion": champion, "candidate": candidate}
    policy = build_policy(Rollout("f00d", "churn", task(), plan, state, 1), arms)
    return policy.weights()[2, "candidate"], probabilities_of_best(plan, Evidence(total=arms))["candidate"]


@pytest.mark.parametrize("bounds", [UNBOUNDED, {"low": 50.0, "high": 250.0}])
def test_a_prior_mean_is_what_a_cost_is_thought_to_be(bounds: dict[str, Any]) -> None:
    algorithm = {"kind": "thompson_gaussian", "prior_mean": 100.0, "prior_count": 10.0, "prior_std": 5.0}
    plan = bandit(
        strategy={"kind": "bandit", "algorithm": algorithm, "min_propensity": 0.0},
        reward={**bounds, "greater_is_better": False},
    )
    champion = earned(1000, 100.0, 5.0)
    # What is known of the candidate is the prior, at the champion's mean.
    assert shares(plan, champion, ArmStatistics()) == pytest.approx((0.5, 0.5), abs=0.01)
    assert max(shares(plan, champion, earned(5, 120.0, 5.0))) < 0.1
    assert min(shares(plan, champion, earned(5, 80.0, 5.0))) > 0.9


@pytest.mark.parametrize("algorithm", ["ucb1", "epsilon_greedy"])
@pytest.mark.parametrize("level", [0.0, 1000.0, -1000.0])
def test_what_has_no_prior_is_judged_alike_wherever_the_rewards_lie(algorithm: str, level: float) -> None:
    plan = bandit(strategy={"kind": "bandit", "algorithm": {"kind": algorithm}}, reward=UNBOUNDED)
    found = shares(plan, earned(200, level), earned(50, level + 1))[1]
    assert found == pytest.approx(shares(plan, earned(200, 0.0), earned(50, 1.0))[1], abs=1e-3)
    assert found > 0.999


def test_ucb1_explores_as_far_as_the_rewards_reach() -> None:
    """Of rewards that are a hundred times as great, as many requests go to each version."""
    ucb1 = {"kind": "bandit", "algorithm": {"kind": "ucb1"}, "min_propensity": 0.0}
    for scale in (1.0, 100.0):
        plan = bandit(strategy=ucb1, reward={"low": 0.0, "high": scale})
        arms = earned(400, 0.5 * scale, 0.1 * scale), earned(20, 0.4 * scale, 0.1 * scale)
        assert shares(plan, *arms)[0] == 1.0


@pytest.mark.parametrize("algorithm", ["linucb", "linear_thompson"])
@pytest.mark.parametrize("bounds", [UNBOUNDED, {"low": 0.0, "high": 500.0}])
def test_rewards_that_vary_much_are_not_taken_for_exact(algorithm: str, bounds: dict[str, Any]) -> None:
    """A hundred rewards of each version, whose means lie a twentieth of a deviation apart, say next to nothing."""
    features = [{"kind": "number", "name": "age"}]
    strategy = {"kind": "contextual_bandit", "features": features, "algorithm": {"kind": algorithm}}
    plan = bandit(strategy=strategy, reward=bounds)

    def arm(mean: float) -> ArmStatistics:
        count = 100
        found = earned(count, mean, 100.0)
        return replace(found, gram=(count, 0.0, 0.0, count), response=(count * mean, 0.0))

    assert 0.5 < shares(plan, arm(200.0), arm(205.0))[1] < 0.8


def test_a_contextual_bandit_explores_as_far_as_the_rewards_reach() -> None:
    features = [{"kind": "number", "name": "age"}]
    found: list[float] = []
    for scale in (1.0, 100.0):
        for algorithm in ("linucb", "linear_thompson"):
            strategy = {"kind": "contextual_bandit", "features": features, "algorithm": {"kind": algorithm}}
            plan = bandit(strategy=strategy, reward={"low": 0.0, "high": scale})
            arms = [
                replace(
                    earned(count, mean * scale, 0.4 * scale),
                    gram=(count, 0.0, 0.0, count),
                    response=(count * mean * scale, 0.0),
                )
                for count, mean in ((400, 0.6), (4, 0.4))
            ]
            found += shares(plan, *arms)
    assert found[4:] == pytest.approx(found[:4])
    assert found[0] >= 0.9
