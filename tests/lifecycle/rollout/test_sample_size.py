"""The planned size of an A/B test is what the test of its gate needs, whatever the rewards and the gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from tests.helpers.rewards import rewarded
from tests.helpers.rollouts import canary

Draw = Callable[[np.random.Generator, float, int], np.ndarray]
RUNS = 60


def planned_for(strategy: dict[str, Any], reward: dict[str, Any], **gate: Any) -> RolloutPlan:
    return canary(strategy={"kind": "ab", **strategy}, reward=reward, gates=[{"kind": "metric", **gate}])


def normal(generator: np.random.Generator, mean: float, count: int) -> np.ndarray:
    return generator.normal(mean, 0.1, count)


def within_bounds(generator: np.random.Generator, mean: float, count: int) -> np.ndarray:
    """Of a deviation of 0.1 too, between 0 and 1."""
    certainty = mean * (1 - mean) / 0.1**2 - 1
    return generator.beta(mean * certainty, (1 - mean) * certainty, count)


def zero_or(most: float) -> Draw:
    return lambda generator, mean, count: most * (generator.random(count) < mean / most)


RATE = {"min_effect": 0.1, "baseline": 0.3}
MEAN = {"min_effect": 0.03, "std": 0.1}
UNBOUNDED: dict[str, Any] = {"low": None, "high": None}
TESTS: dict[str, tuple[RolloutPlan, Draw, float, float]] = {
    "rates": (planned_for(RATE, {"binary": True}), zero_or(1.0), 0.3, 0.4),
    "rates of a cost": (planned_for(RATE, {"binary": True, "greater_is_better": False}), zero_or(1.0), 0.3, 0.2),
    "rates, a margin": (planned_for(RATE, {"binary": True}, margin=0.04), zero_or(1.0), 0.3, 0.4),
    "rates, not worse": (planned_for(RATE, {"binary": True}, margin=0.04, goal="non_inferior"), zero_or(1.0), 0.3, 0.4),
    "two values": (
        planned_for({**RATE, "min_effect": 1.0}, {"binary": True, "high": 10.0}),
        zero_or(10.0),
        3.0,
        4.0,
    ),
    "no bounds": (planned_for({**MEAN, "min_effect": 0.02}, UNBOUNDED), normal, 0.3, 0.32),
    "bounds": (planned_for(MEAN, {"expected_mean": 0.3}), within_bounds, 0.3, 0.33),
}


@pytest.mark.parametrize("name", TESTS)
def test_with_so_many_rewards_it_finds_the_effect_as_often_as_planned(name: str) -> None:
    plan, draw, champion, candidate = TESTS[name]
    planned = sample_sizes(plan)
    assert planned is not None
    generator = np.random.default_rng(1)

    def found(share: float) -> int:
        """In how many of the runs, with a share of the planned rewards."""
        passed = 0
        for _ in range(RUNS):
            arms = {}
            for arm, mean, count in zip(("candidate", "champion"), (candidate, champion), planned, strict=True):
                rewards = draw(generator, mean, int(share * count))
                arms[arm] = rewarded(rewards)
            passed += findings(plan, Evidence(total=arms))[0].verdict == "better"
        return passed

    # A power of 0.8, up to chance and to what the formula leaves out.
    assert found(1.0) >= int(stats.binom.ppf(0.001, RUNS, 0.77))
    assert found(0.5) <= int(stats.binom.ppf(0.999, RUNS, 0.6))


def test_without_bounds_it_waits_until_the_test_says_anything() -> None:
    assert sample_sizes(planned_for({"min_effect": 1.0, "std": 0.1}, UNBOUNDED)) == (60, 60)
    few = {"min_effect": 1.0, "std": 0.1, "candidate_share": 0.1}
    candidate, champion = sample_sizes(planned_for(few, UNBOUNDED)) or (0, 0)
    assert candidate >= 60
    assert champion >= 8 * candidate
