"""Latencies that change with time, while the shares of the versions change too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import Finding, findings
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from benchmarks.rollouts.changing_rates import latency_streams
from tests.helpers.rollouts import canary

STREAMS = 200
MOST_WRONG = int(stats.binom.ppf(0.999, STREAMS, 0.05))


def plan_with(steps: list[float], **gate: Any) -> RolloutPlan:
    gates = [{"kind": "latency", "quantile": 0.5, "ratio": 1.2, **gate}]
    return canary(strategy={"kind": "canary", "steps": steps}, gates=gates, expected_requests=1000)


def answers(count: int, median: float, seed: int = 1) -> ArmStatistics:
    latencies = np.random.default_rng(seed).lognormal(np.log(median), 0.3, count)
    return ArmStatistics(requests=count, latency=Counter(map(latency_cell, latencies.tolist())))


def found(plan: RolloutPlan, steps: list[tuple[ArmStatistics, ArmStatistics]]) -> Finding:
    """The finding on a candidate and a champion, each with the statistics of every step."""
    evidence = {
        (number, arm): part
        for number, pair in enumerate(steps)
        for arm, part in zip(("candidate", "champion"), pair, strict=True)
        if part.requests
    }
    return findings(plan, Evidence.of(evidence, len(steps) - 1))[0]


def test_equal_versions_that_become_slower_while_the_share_grows_are_not_rolled_back() -> None:
    assert latency_streams(STREAMS, 3.0, by_step=True, seed=1).sum() <= MOST_WRONG


def test_all_steps_together_would_roll_them_back() -> None:
    """So the test above can fail."""
    assert latency_streams(STREAMS, 3.0, by_step=False, seed=1).mean() > 0.5


def test_a_candidate_is_compared_with_the_champion_of_the_same_step() -> None:
    plan = plan_with([0.1, 0.5])
    equal = [(answers(300, 10), answers(2700, 10)), (answers(3000, 30), answers(3000, 30, seed=2))]
    assert found(plan, equal).verdict == "better"
    slower = [(answers(300, 15), answers(2700, 10)), (answers(3000, 60), answers(3000, 40, seed=2))]
    finding = found(plan, slower)
    assert finding.verdict == "worse"
    assert "at step" in finding.sentence
    assert 1.2 < (finding.low or 0) < 1.5 < (finding.high or 0)


def test_a_candidate_that_is_too_slow_at_one_step_fails_although_it_was_fast_before() -> None:
    steps = [(answers(2000, 10), answers(2000, 10, seed=2)), (answers(2000, 20), answers(2000, 10, seed=2))]
    assert found(plan_with([0.4, 0.5]), steps).verdict == "worse"


def test_without_answers_of_the_champion_nothing_is_known() -> None:
    nothing = ArmStatistics()
    assert found(plan_with([0.1, 0.5]), [(answers(3000, 10), nothing)]).verdict == "inconclusive"
    assert found(plan_with([0.1, 0.5]), [(nothing, answers(3000, 10))]).verdict == "inconclusive"


@pytest.mark.parametrize(("median", "verdict"), [(10.0, "better"), (20.0, "inconclusive")])
def test_a_candidate_that_becomes_slow_once_it_is_alone_waits(median: float, verdict: str) -> None:
    steps = [(answers(3000, 10), answers(3000, 10, seed=2)), (answers(3000, median, seed=3), ArmStatistics())]
    finding = found(plan_with([0.5, 1.0]), steps)
    assert finding.verdict == verdict
    assert ("since it answers all requests" in finding.sentence) == (verdict == "inconclusive")
