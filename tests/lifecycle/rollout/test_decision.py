"""Decisions about rollouts: each branch by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from airflow_provider_mlops.lifecycle.rollout import decision as rollout_decision
from airflow_provider_mlops.lifecycle.rollout.best import probabilities_of_best
from airflow_provider_mlops.lifecycle.rollout.decision import RolloutDecision, decide
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from tests.helpers.decisions import AB, HOUR, NOW, begun, canary
from tests.helpers.rewards import around, rewarded


def served(requests: int, errors: int = 0, latency: float = 10.0, **fields: Any) -> ArmStatistics:
    return ArmStatistics(requests=requests, errors=errors, latency={latency_cell(latency): requests - errors}, **fields)


def evidence(champion: ArmStatistics, candidate: ArmStatistics, name: str = "candidate", step: int = 0) -> Evidence:
    return Evidence.of({(step, "champion"): champion, (step, name): candidate}, step)


GOOD = evidence(served(3000, 30), served(3000, 30))
BAD = evidence(served(3000, 30), served(50, 25))
UNCLEAR = evidence(served(3000, 30), served(150, 4))


def after(plan: RolloutPlan, hours: float, found: Evidence, **fields: Any) -> RolloutDecision:
    return decide(plan, begun(plan, **fields), found, NOW + hours * HOUR)


def test_a_step_lasts_its_time_and_sees_its_requests() -> None:
    plan = canary()
    early = after(plan, 0.5, GOOD)
    assert (early.action, early.reason) == ("wait", "the step lasts at least 1 hour; time left: 30 minutes")
    few = after(canary(min_requests=5000), 2, GOOD)
    assert (few.action, few.reason) == ("wait", "too few requests in this step: 3,000 of at least 5,000")
    on = after(plan, 1, GOOD)
    assert on.action == "next_step"
    assert on.reason.startswith("Error rate: candidate minus champion is below 5 points")
    assert after(plan, 1, Evidence(GOOD.total, GOOD.step), step=1).action == "promote"
    # What was seen in the step before does not count as requests of this one.
    assert (
        after(plan, 2, Evidence.of({(0, "champion"): served(3000), (0, "candidate"): served(3000)}, 1), step=1).action
        == "wait"
    )


def test_what_is_worse_is_rolled_back_at_any_time() -> None:
    for fields in ({}, {"status": "held"}, {"approved": True}):
        for hours in (0.01, 100):
            found = after(canary(), hours, BAD, **fields)
            assert found.action == "roll_back"
            assert "is not below 5 points; it is 49 points" in found.reason
            assert [finding.verdict for finding in found.findings] == ["worse"]


@pytest.mark.parametrize("found", [UNCLEAR, Evidence()])
def test_no_evidence_is_no_success(found: Evidence) -> None:
    assert after(canary(min_requests=0), 5, found).action == "wait"
    for policy, action in {"hold": "hold", "ask": "ask", "roll_back": "roll_back", "extend": "extend"}.items():
        late = after(canary(on_inconclusive=policy, min_requests=0), 10, found)
        assert late.action == action
        assert late.reason.startswith("no decision within 10 hours: Error rate: ")


def test_extensions_end_in_a_rollback() -> None:
    plan = canary(on_inconclusive="extend", max_extensions=2)
    state, actions = begun(plan), []
    for hours in range(40):
        decision = decide(plan, state, UNCLEAR, NOW + hours * HOUR)
        actions.append(decision.action)
        state = rollout_decision.apply(decision, plan, state, NOW + hours * HOUR, "task")
        if not state.is_in_progress:
            break
    assert [action for action in actions if action != "wait"] == ["extend", "extend", "roll_back"]
    assert len(actions) == 31


def test_what_is_held_goes_on_when_the_evidence_is_there_or_a_human_says_so() -> None:
    plan = canary(on_inconclusive="ask")
    asked = after(plan, 10, UNCLEAR)
    state = rollout_decision.apply(asked, plan, begun(plan), NOW + 10 * HOUR, "task")
    assert state.status == "held"
    assert decide(plan, state, UNCLEAR, NOW + 20 * HOUR).action == "wait"
    assert decide(plan, state, GOOD, NOW + 20 * HOUR).action == "next_step"
    agreed = transitions.approved(state, NOW, "ada", "known and harmless")
    on = decide(plan, agreed, UNCLEAR, NOW + 20 * HOUR)
    assert (on.action, on.reason) == ("next_step", "Approved by ada: known and harmless.")
    assert decide(plan, agreed, BAD, NOW + 20 * HOUR).action == "roll_back"
    with pytest.raises(ValueError, match="is over"):
        decide(plan, transitions.ended(plan, state, NOW, "a", ""), GOOD, NOW)


@pytest.mark.parametrize("late", [0, 0.4, 2.3])
def test_another_wait_is_as_long_as_it_was_said_to_be(late: float) -> None:
    """However long a person takes to answer, the next question comes one decision_timeout after the answer."""
    timeout = timedelta(seconds=45)
    plan = canary(on_inconclusive="ask", bake_time=0, min_requests=0, decision_timeout=timeout)
    asked = NOW + timeout
    state = rollout_decision.apply(decide(plan, begun(plan), UNCLEAR, asked), plan, begun(plan), asked, "task")
    answered = asked + late * timeout
    waiting = transitions.extended(state, answered, "ada", "wait")
    assert decide(plan, waiting, UNCLEAR, answered + timeout - timedelta(seconds=1)).action == "wait"
    again = decide(plan, waiting, UNCLEAR, answered + timeout)
    assert again.action == "ask"
    assert again.reason.startswith("no decision within another 45 seconds: ")


def test_a_paused_rollout_decides_nothing() -> None:
    plan = canary()
    paused = transitions.paused(begun(plan), NOW, "ada", "a review")
    for found in (GOOD, BAD, UNCLEAR):
        decision = decide(plan, paused, found, NOW + 100 * HOUR)
        assert (decision.action, decision.reason) == ("wait", "paused by ada: a review")
    resumed = transitions.resumed(paused, NOW + 100 * HOUR, "ada", "done")
    assert decide(plan, resumed, UNCLEAR, NOW + 101 * HOUR).action == "wait"
    assert decide(plan, resumed, BAD, NOW + 101 * HOUR).action == "roll_back"
    for change in (transitions.paused, lambda *a: transitions.resumed(begun(plan), *a[1:])):
        with pytest.raises(ValueError, match="cannot be"):
            change(paused, NOW, "ada", "")


def test_a_shadow_is_promoted_or_ends_as_asked() -> None:
    gates = [{"kind": "agreement", "min_rate": 0.9}, {"kind": "drift", "classes": ["0", "1"], "max_distance": 0.1}]
    answers = {"rows": 20_000, "outputs": {0: 10_000, 1: 10_000}}
    same = evidence(served(20_000, **answers), served(20_000, **answers, compared=20_000, agreed=19_500), "shadow")
    other = evidence(served(20_000, **answers), served(20_000, **answers, compared=20_000, agreed=15_000), "shadow")
    drifted = {"rows": 20_000, "outputs": {0: 5000, 1: 15_000}}
    moved = evidence(served(20_000, **answers), served(20_000, **drifted, compared=20_000, agreed=19_500), "shadow")
    for on_success, action in (("promote", "promote"), ("end", "end")):
        plan = canary(strategy={"kind": "shadow", "on_success": on_success}, gates=gates)
        assert after(plan, 2, same).action == action
        assert "Agreement with the champion is not above 0.9" in after(plan, 2, other).reason
        assert "Proportion of predictions that moved is not below 0.1" in after(plan, 2, moved).reason


def verdicts(gate: dict[str, Any], candidate: ArmStatistics, champion: ArmStatistics, **fields: Any) -> str:
    plan = canary(gates=[gate], **fields)
    (found,) = findings(plan, evidence(champion, candidate))
    return found.verdict


def test_latency_is_compared_with_the_champion_or_with_a_limit() -> None:
    ratio = {"kind": "latency", "quantile": 0.95, "ratio": 1.5}
    champion = served(3000, latency=10)
    for latency, verdict in ((10, "better"), (12, "better"), (20, "worse"), (15, "inconclusive")):
        assert verdicts(ratio, served(3000, latency=latency), champion) == verdict
    assert verdicts(ratio, served(20, latency=10), champion) == "inconclusive"
    assert verdicts(ratio, served(3000, latency=10), ArmStatistics()) == "inconclusive"
    limit = {"kind": "latency", "max_latency_ms": 15}
    for latency, verdict in ((10, "better"), (20, "worse")):
        assert verdicts(limit, served(3000, latency=latency), ArmStatistics()) == verdict


REWARDS = {
    "binary": {"binary": True},
    "bounded": {"low": 0, "high": 1, "expected_mean": 0.3},
    "unbounded": {"low": None, "high": None},
}


def rewards(mean: float, count: int, std: float = 0.4) -> ArmStatistics:
    return around(mean, std, count, requests=count)


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("greater", [True, False])
def test_metrics_of_every_kind(kind: str, greater: bool) -> None:
    reward = {**REWARDS[kind], "greater_is_better": greater}
    up, down = ("better", "worse") if greater else ("worse", "better")
    champion = rewards(0.3, 20_000)
    superior = {"kind": "metric"}
    assert verdicts(superior, rewards(0.4, 20_000), champion, reward=reward) == up
    assert verdicts(superior, rewards(0.2, 20_000), champion, reward=reward) == down
    assert verdicts(superior, rewards(0.3, 20_000), champion, reward=reward) == "inconclusive"
    assert verdicts(superior, ArmStatistics(), champion, reward=reward) == "inconclusive"
    alike = {"kind": "metric", "goal": "non_inferior", "margin": 0.1}
    assert verdicts(alike, rewards(0.3, 20_000), champion, reward=reward) == "better"


def test_an_ab_test_ends_with_a_decision_or_at_its_planned_size() -> None:
    plan = canary(**AB)
    planned = sample_sizes(plan)
    assert planned is not None
    size = planned[0]
    assert 500 < size < 2000
    cases: list[tuple[float, int, str]] = [
        (0.3, size - 1, "wait"),
        (0.3, size, "end"),
        (0.45, size // 2, "promote"),
        (0.15, size // 2, "roll_back"),
    ]
    for rate, count, action in cases:
        wins = round(rate * count)
        found = after(plan, 2, evidence(rewards(0.3, count), rewards(wins / count, count)))
        assert found.action == action, found.reason
    plan = canary(**{**AB, "strategy": {"kind": "ab", "candidate_share": 0.2, "sample_size": 100}})
    assert sample_sizes(plan) == (100, 400)
    assert sample_sizes(canary(**{**AB, "strategy": {"kind": "ab"}})) is None
    assert sample_sizes(canary()) is None


def bandit(**fields: Any) -> RolloutPlan:
    return canary(
        **{"candidates": [2, 3], "strategy": {"kind": "bandit"}, "reward": {"binary": True}, "gates": [], **fields}
    )


ALGORITHMS = ["thompson_beta", "thompson_gaussian", "ucb1", "epsilon_greedy"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bandit_ends_when_one_version_is_the_best(algorithm: str) -> None:
    plan = bandit(strategy={"kind": "bandit", "algorithm": {"kind": algorithm}})
    names = [arm.name for arm in plan.arms]
    assert names == ["champion", "candidate_2", "candidate_3"]

    def of(*means: float) -> Evidence:
        return Evidence.of({(0, name): rewards(mean, 1000) for name, mean in zip(names, means, strict=True)}, 0)

    best = after(plan, 2, of(0.3, 0.3, 0.4))
    assert (best.action, best.version) == ("promote", 3)
    assert sum(best.probabilities.values()) == pytest.approx(1)
    assert best.probabilities["candidate_3"] > 0.99
    stays = after(plan, 2, of(0.4, 0.3, 0.3))
    assert (stays.action, stays.reason.endswith("the champion stays")) == ("end", True)
    alike = after(plan, 2, of(0.4, 0.4, 0.4))
    assert alike.action == "wait"
    assert "may not be the best version" in alike.reason
    assert after(plan, 0.5, of(0.3, 0.3, 0.4)).action == "wait"
    costs = bandit(strategy=plan.strategy.model_dump(), reward={"binary": True, "greater_is_better": False})
    assert after(costs, 2, of(0.3, 0.4, 0.4)).action == "end"


def test_an_approved_bandit_does_not_claim_to_be_certain() -> None:
    plan = bandit()
    alike = {(0, arm.name): rewards(0.4, 1000) for arm in plan.arms}
    found = after(plan, 2, Evidence.of(alike, 0), approved=True, changed_by="ada", reason="good enough")
    assert found.action in ("promote", "end")
    assert found.reason.startswith("approved by ada: good enough; ")
    assert "is the best version" not in found.reason


def test_a_candidate_with_errors_does_not_win_a_bandit() -> None:
    plan = bandit(gates=[{"kind": "error_rate", "margin": 0.05}])
    arms = {"champion": rewards(0.3, 1000), "candidate_2": rewards(0.5, 1000), "candidate_3": rewards(0.3, 1000)}
    failing = arms["candidate_2"] + ArmStatistics(requests=300, errors=300)
    found = after(plan, 2, Evidence.of({(0, name): arm for name, arm in {**arms, "candidate_2": failing}.items()}, 0))
    assert found.action == "roll_back"
    assert found.reason.startswith("Error rate")


def test_a_contextual_bandit_ends_when_one_version_is_the_best_for_everybody() -> None:
    generator = np.random.default_rng(0)
    features = [{"kind": "number", "name": "hour"}]
    plan = canary(
        strategy={"kind": "contextual_bandit", "features": features}, reward={"low": None, "high": None}, gates=[]
    )

    def arm(base: float, slope: float) -> ArmStatistics:
        x = np.column_stack([np.ones(1000), generator.normal(size=1000)])
        r = x @ [base, slope] + generator.normal(size=1000)
        return rewarded(r, weight=2.0, requests=1000, gram=tuple((x.T @ x).ravel()), response=tuple(x.T @ r))

    better = after(plan, 2, evidence(arm(0.0, 1.0), arm(0.5, -1.0)))
    assert (better.action, better.version) == ("promote", 2)
    # One is better for some, the other for others: on the average, and so for one version, there is nothing to gain.
    apart = after(plan, 2, evidence(arm(0.0, 1.0), arm(0.0, -1.0)))
    assert apart.action == "wait"
    assert probabilities_of_best(plan, Evidence()) == pytest.approx({"champion": 0.5, "candidate": 0.5})
