"""What was assigned at random counts as one: a request with all its rows, or a user with all their requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout.error_rates import margin_for_now
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import Finding, findings
from airflow_provider_mlops.serving.policy.sticky import StickyHash
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, cluster_of
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import (
    Decision,
    EvidenceDelta,
    statistics_of_rewards,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from tests.helpers.rewards import rewarded
from tests.helpers.rollouts import bandit, canary

STICKY: dict[str, Any] = {"strategy": {"kind": "ab"}, "sticky": {"name": "X-User-Id"}, "reward": {"binary": True}}


def found(plan: RolloutPlan, candidate: ArmStatistics, champion: ArmStatistics) -> Finding:
    return findings(plan, Evidence.of({(0, "candidate"): candidate, (0, "champion"): champion}, 0))[0]


def record(key: str, number: int, **fields: Any) -> dict[str, Any]:
    common = {"rollout": "", "step": 0, "arm": "candidate", "key": key, "latency_ms": 2.0}
    return {"predictions": f"{number:032x}", **common, "output": [1], "propensity": 0.5, **fields}


def test_the_requests_of_a_user_are_in_one_cluster_and_their_latencies_and_errors_too() -> None:
    plan = canary(**STICKY, gates=[{"kind": "metric"}, {"kind": "latency"}])
    keys = [StickyHash("f00d").hexadecimal(name) for name in ("ada", "bob")]
    delta = EvidenceDelta(lambda rollout: plan)
    for number, key in enumerate([keys[0], keys[0], keys[1]]):
        delta.add(record(key, number))
    delta.add({"failure": "1" * 32, "rollout": "", "step": 0, "arm": "candidate", "key": keys[0]})
    arm = delta.statistics()["", 0, "candidate"]
    ada, bob = (cluster_of(key, "") for key in keys)
    assert arm.request_clusters == {ada: (3, 1), bob: (1, 0)}
    assert {cluster: sum(cells.values()) for cluster, cells in arm.latency_clusters.items()} == {
        ada % 128: 2,
        bob % 128: 1,
    }
    assert [decision.cluster for decision in delta.decisions] == [ada, ada, bob]


def test_a_cluster_does_not_depend_on_the_version_that_the_key_gets() -> None:
    """The same hash assigns the version by its first bits, and the cluster by its last ones."""
    sticky = StickyHash("rollout-1")
    names = [f"user {number}" for number in range(20_000)]
    clusters = np.array([cluster_of(sticky.hexadecimal(name), "") for name in names])
    chosen = np.array([sticky.uniforms(name)[0] < 0.3 for name in names])
    table = [np.bincount(clusters[chosen == side] % 32, minlength=32) for side in (True, False)]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_the_rows_of_a_request_are_in_one_cluster_whenever_their_rewards_arrive() -> None:
    plan = canary(strategy={"kind": "ab"}, reward={}, gates=[{"kind": "metric"}])
    decision = Decision(b"\1" * 16, "", 0, 1, 3, None, None)
    early, late = statistics_of_rewards(plan, [(decision, 1.0)]), statistics_of_rewards(plan, [(decision, 0.5)] * 2)
    both = early + late
    assert (both.rewards_of_rows, both.rewards_at_bounds) == (3, 1)
    assert list(both.reward_clusters.values()) == [(3.0, 2.0)]
    assert ArmStatistics.from_json(both.to_json()) == both


@pytest.mark.parametrize("reward", [{"binary": True}, {"low": None, "high": None}, {}])
def test_ten_rows_that_say_the_same_decide_nothing_that_one_would_not(reward: dict[str, Any]) -> None:
    plan = canary(strategy={"kind": "ab"}, reward=reward, gates=[{"kind": "metric"}])
    generator = np.random.default_rng(1)
    units = [generator.permutation(np.arange(150) < wins).astype(float) for wins in (60, 45)]
    alone = [np.repeat(values, 10) for values in units]
    dependent = [
        rewarded(values, np.repeat(np.arange(150), 10), rewards_of_rows=1500, rewards_at_bounds=1500)
        for values in alone
    ]
    assert found(plan, *dependent).verdict == "inconclusive"
    if reward:
        independent = [rewarded(values, rewards_at_bounds=1500) for values in alone]
        assert found(plan, *independent).verdict == "better"


def test_few_users_are_inconclusive_however_many_requests_they_send() -> None:
    plan = canary(**{**STICKY, "strategy": {"kind": "canary"}}, gates=["error_rate"])
    few = ArmStatistics(requests=10**6, request_clusters=dict.fromkeys(range(20), (50000, 0)))
    many = ArmStatistics(requests=10**6, request_clusters=dict.fromkeys(range(1000), (1000, 5)))
    finding = found(plan, few, many)
    assert finding.verdict == "inconclusive"
    assert "too few users" in finding.sentence
    worse = ArmStatistics(requests=10**6, request_clusters={user: (1000, 100 + user % 7) for user in range(1000)})
    assert found(plan, worse, many).verdict == "worse"
    assert found(plan, many, many).verdict == "better"


def test_zeros_decide_nothing() -> None:
    """Not even as many as the first look at means requires: nobody knows how large a reward would have been."""
    for reward in ({"low": None, "high": None}, {"low": None, "high": None, "greater_is_better": False}):
        plan = canary(strategy={"kind": "ab"}, reward=reward, gates=[{"kind": "metric", "goal": "non_inferior"}])
        zeros = rewarded(np.zeros(5000))
        assert found(plan, zeros, zeros).verdict == "inconclusive"
        rare = rewarded(np.eye(1, 5000)[0] * 50)
        assert found(plan, zeros, rare).verdict == "inconclusive"
        assert found(plan, rare, zeros).verdict == "inconclusive"


def test_rewards_of_zero_and_one_are_compared_as_rates_and_the_user_is_told() -> None:
    """As rates, 10 and 14 % differ after 5,000 rewards; as means within bounds, they do not."""
    values = [np.repeat([1.0, 0.0], [round(5000 * rate), 5000 - round(5000 * rate)]) for rate in (0.14, 0.10)]
    plan = canary(strategy={"kind": "ab"}, reward={}, gates=[{"kind": "metric"}])
    detected = found(plan, *(rewarded(part, rewards_at_bounds=5000) for part in values))
    assert detected.verdict == "better"
    assert "set binary=True" in detected.sentence
    other = [np.append(part[:-1], 0.5) for part in values]
    bounded = found(plan, *(rewarded(part, rewards_at_bounds=4999) for part in other))
    assert bounded.verdict == "inconclusive"
    declared = found(
        canary(strategy={"kind": "ab"}, reward={"binary": True}, gates=[{"kind": "metric"}]),
        *(rewarded(part) for part in values),
    )
    assert declared.verdict == "better"
    assert "binary=True" not in declared.sentence


def test_a_sticky_rollout_has_no_drift_gate() -> None:
    with pytest.raises(ValidationError, match="predictions for one user depend on each other"):
        canary(**STICKY, gates=[{"kind": "metric"}, {"kind": "drift", "classes": ["a"]}])


def test_the_next_step_starts_once_the_harm_to_all_requests_is_within_the_margin() -> None:
    """Three failures of 400 do not exclude a difference of 1 point, but one of 4 points, a quarter of which is 1."""
    plan = canary(gates=["error_rate"], bake_time=timedelta(0))
    counts = {
        (0, "candidate"): ArmStatistics(requests=400, errors=3),
        (0, "champion"): ArmStatistics(requests=7600, errors=57),
    }
    assert findings(plan, Evidence.of(counts, 0))[0].verdict == "better"
    assert findings(plan, Evidence.of(counts, 2))[0].verdict == "inconclusive"
    assert [margin_for_now(plan, 0.01, step) for step in range(4)] == [0.04, 0.02, None, None]
    assert margin_for_now(bandit(), 0.01, 0) is None
    worse = {
        key: arm + ArmStatistics(requests=400, errors=40 if key[1] == "candidate" else 3) for key, arm in counts.items()
    }
    assert findings(plan, Evidence.of(worse, 0))[0].verdict == "worse"


def test_an_outage_at_a_step_without_a_champion_neither_promotes_nor_rolls_back() -> None:
    plan = canary(gates=["error_rate"])
    before = {
        (2, "candidate"): ArmStatistics(requests=5000, errors=25),
        (2, "champion"): ArmStatistics(requests=5000, errors=25),
    }
    fine = {**before, (3, "candidate"): ArmStatistics(requests=1000, errors=5)}
    assert findings(plan, Evidence.of(fine, 3))[0].verdict == "better"
    failing = {**before, (3, "candidate"): ArmStatistics(requests=1000, errors=300)}
    finding = findings(plan, Evidence.of(failing, 3))[0]
    assert finding.verdict == "inconclusive"
    assert "30.00% of them fail" in finding.sentence


def test_a_split_that_is_not_the_declared_one_is_compared_as_if_rates_were_constant() -> None:
    """Someone sent much of the traffic back to the champion: its errors must not count as if they were half of all."""
    plan = canary(gates=["error_rate"], strategy={"kind": "canary", "steps": [0.5, 1.0]})
    counts = {
        (0, "candidate"): ArmStatistics(requests=1000, errors=50),
        (0, "champion"): ArmStatistics(requests=20_000, errors=1000),
    }
    assert findings(plan, Evidence.of(counts, 0))[0].verdict != "worse"
    assert "5.26 points" not in findings(plan, Evidence.of(counts, 1))[0].sentence
    better = {**counts, (0, "candidate"): ArmStatistics(requests=1000, errors=90)}
    assert findings(plan, Evidence.of(better, 1))[0].verdict != "better"
