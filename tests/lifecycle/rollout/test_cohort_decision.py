"""A cohort is judged by its own limits in its own step, and never counts with the requests that chance divided."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout import decision as rollout_decision
from airflow_provider_mlops.lifecycle.rollout import question
from airflow_provider_mlops.lifecycle.rollout.decision import RolloutDecision, decide
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from tests.helpers.decisions import AB, HOUR, NOW, begun, canary
from tests.helpers.rollouts import task

STAFF = {"name": "X-Group", "values": ["staff"]}
Seen = dict[tuple[int, str], ArmStatistics]


def requests(count: int, errors: int = 0, **sums: Any) -> ArmStatistics:
    return ArmStatistics(requests=count, errors=errors, **sums)


def decision_at(plan: RolloutPlan, seen: Seen, *, step: int = 0, hours: float = 2, **state: Any) -> RolloutDecision:
    current = begun(plan)
    for _ in range(step):
        current = transitions.next_step(plan, current, NOW, "task", "ok")
    current = current.model_copy(update=state)
    return decide(plan, current, Evidence.of(seen, step), NOW + hours * HOUR)


def test_the_cohorts_step_needs_its_time_its_requests_and_its_gates() -> None:
    plan = canary(cohort=STAFF)
    few = {(0, "cohort"): requests(12)}
    early = decision_at(plan, few, hours=0.5)
    assert early.action == "wait"
    assert "the step lasts at least 1 hour" in early.reason
    late = decision_at(plan, few)
    assert late.action == "wait"
    assert (
        "too few requests of the cohort so far: 12 of at least 50 (a request belongs to the cohort if the header "
        "'X-Group' is 'staff')"
    ) in late.reason
    assert decision_at(plan, {(0, "cohort"): requests(60, errors=5)}).action == "wait"
    passed = decision_at(plan, {(0, "cohort"): requests(60)})
    assert (passed.action, [finding.arm for finding in passed.findings]) == ("next_step", ["cohort"])
    assert passed.reason.startswith("cohort: ")
    failed = decision_at(plan, {(0, "cohort"): requests(60, errors=40)})
    assert failed.action == "roll_back"
    assert failed.reason.startswith("cohort: ")


def test_the_default_gate_of_a_cohort_can_pass_at_its_minimum_of_requests() -> None:
    assert decision_at(canary(cohort=STAFF), {(0, "cohort"): requests(50)}).action == "next_step"
    assert decision_at(canary(cohort={**STAFF, "gates": []}), {(0, "cohort"): requests(50)}).action == "next_step"


def test_a_slow_cohort_fails_its_limit() -> None:
    gate = {"kind": "latency", "quantile": 0.5, "max_latency_ms": 10}
    plan = canary(cohort={**STAFF, "gates": [gate]})
    for milliseconds, action in ((2.0, "next_step"), (50.0, "roll_back")):
        slow = requests(200, latency={latency_cell(milliseconds): 200})
        assert decision_at(plan, {(0, "cohort"): slow}).action == action


@pytest.mark.parametrize(
    ("on_inconclusive", "action"), [("hold", "hold"), ("extend", "extend"), ("ask", "ask"), ("roll_back", "roll_back")]
)
def test_a_cohort_that_nobody_belongs_to_ends_as_every_step_does(on_inconclusive: str, action: str) -> None:
    plan = canary(cohort=STAFF, on_inconclusive=on_inconclusive)
    decision = decision_at(plan, {}, hours=11)
    assert decision.action == action
    assert "no decision within 10 hours: too few requests of the cohort so far: 0 of at least 50" in decision.reason
    assert "the header 'X-Group' is 'staff'" in decision.reason


def test_a_person_may_continue_without_the_cohort() -> None:
    plan = canary(cohort=STAFF, on_inconclusive="ask")
    assert decision_at(plan, {}, hours=11, approved=True).action == "next_step"
    state = transitions.held(begun(plan), NOW, "task", "too few requests")
    rollout = Rollout("f00d", "churn", task(), plan, state, 2)
    text = question.body(rollout, findings(plan, Evidence.of({(0, "cohort"): requests(60)}, 0)), NOW)
    assert "step 1 of 3, in which only the cohort gets version 2 (requests in which the header 'X-Group' is" in text
    assert "| 2 (cohort) | error rate | better |" in text
    assert "the rollout starts the next step" in text


def test_a_cohort_that_fails_later_rolls_the_candidate_back_and_one_that_wavers_holds_nobody_up() -> None:
    plan = canary(cohort=STAFF)
    good: Seen = {(1, "champion"): requests(5000), (1, "candidate"): requests(5000)}
    wavering = decision_at(plan, {**good, (0, "cohort"): requests(60), (1, "cohort"): requests(60, errors=12)}, step=1)
    assert {finding.arm: finding.verdict for finding in wavering.findings} == {
        "candidate": "better",
        "cohort": "inconclusive",
    }
    assert wavering.action == "next_step"
    assert "cohort" not in wavering.reason
    bad = decision_at(plan, {**good, (0, "cohort"): requests(60), (1, "cohort"): requests(600, errors=300)}, step=1)
    assert bad.action == "roll_back"


def test_the_cohorts_requests_count_for_no_other_step_gate_or_minimum() -> None:
    plan = canary(cohort=STAFF)
    cohort: Seen = {(0, "cohort"): requests(10_000), (1, "cohort"): requests(10_000)}
    champion: Seen = {(1, "champion"): requests(10_000, errors=500)}
    decision = decision_at(plan, {**cohort, **champion}, step=1)
    assert decision.action == "wait"
    assert "too few requests in this step: 0 of at least 100" in decision.reason
    alone = decision_at(plan, champion, step=1)
    assert [f for f in decision.findings if f.arm == "candidate"] == [f for f in alone.findings if f.arm == "candidate"]


def test_an_ab_test_is_decided_and_ends_by_its_random_share_alone() -> None:
    plan = canary(**{**AB, "cohort": STAFF})
    sizes = sample_sizes(plan)
    assert sizes is not None

    def wins(count: int, rate: float) -> ArmStatistics:
        return requests(
            count, reward_count=count, reward_total=count * rate, reward_deviations=count * rate * (1 - rate)
        )

    enthusiasts: Seen = {(0, "cohort"): wins(50_000, 1.0), (1, "cohort"): wins(50_000, 1.0)}
    equal: Seen = {(1, "champion"): wins(400, 0.3), (1, "candidate"): wins(400, 0.3)}
    assert decision_at(plan, {**enthusiasts, **equal}, step=1).action == "wait"
    full: Seen = {(1, "champion"): wins(sizes[1], 0.3), (1, "candidate"): wins(sizes[0], 0.3)}
    ended = decision_at(plan, {**enthusiasts, **full}, step=1)
    assert ended.action == "end"
    assert f"{sizes[0]:,} rewards of the candidate" in ended.reason
    # A cohort that is undecided does not keep the test from ending, or a better candidate from its promotion.
    unclear: Seen = {(0, "cohort"): requests(3)}
    assert decision_at(plan, {**unclear, **full}, step=1).action == "end"
    better: Seen = {(1, "champion"): wins(sizes[1], 0.3), (1, "candidate"): wins(sizes[0], 0.6)}
    assert decision_at(plan, {**unclear, **better}, step=1).action == "promote"


RATE, SEEDS = 0.2, 40
MOST_WRONG = int(stats.binom.ppf(0.999, SEEDS, RATE))
LOOKS = [160, 160, 320, 640, 1280]
COHORT = {**STAFF, "gates": [], "min_requests": 10}


def simulate(plan: RolloutPlan, seed: int, rates: tuple[float, float], cohort: float, *, pooled: bool = False) -> str:
    """A rollout whose cohort, half as many requests as all others, fails or earns as it likes.

    :param pooled: count the cohort as the candidate, which is the fault that the arm `cohort` prevents.
    """
    generator, other_generator = np.random.default_rng(seed), np.random.default_rng(seed + 10**6)
    state, seen = begun(plan), Seen()

    def count(arm: str, number: int, drawn: int) -> None:
        won = {"reward_count": number, "reward_total": drawn, "reward_deviations": drawn} if plan.reward else {}
        key = (state.step, "candidate" if pooled and arm == "cohort" else arm)
        seen[key] = seen.get(key, ArmStatistics()) + requests(number, errors=0 if plan.reward else drawn, **won)

    for look, number in enumerate([10, *LOOKS] if plan.cohort else LOOKS, start=1):
        of_cohort = max(10, number // 2)
        count("cohort", of_cohort, int(other_generator.binomial(of_cohort, cohort)))
        if not plan.is_cohort_step(state.step):
            candidates = int(generator.binomial(number, (state.weights or {})["candidate"]))
            count("champion", number - candidates, int(generator.binomial(number - candidates, rates[0])))
            count("candidate", candidates, int(generator.binomial(candidates, rates[1])))
        now = NOW + look * HOUR
        decision = decide(plan, state, Evidence.of(seen, state.step), now)
        state = rollout_decision.apply(decision, plan, state, now, "task")
        if not state.is_in_progress:
            break
    return state.status


BORDER = canary(
    cohort=COHORT,
    strategy={"kind": "canary", "steps": [0.5]},
    min_requests=0,
    bake_time=timedelta(0),
    expected_requests=500,
    false_alarm_rate=RATE,
    decision_timeout=timedelta(days=900),
)
CASES = {
    "errors": (BORDER, (0.05, 0.10), (0.0, 0.6)),
    "rewards": (canary(**{**AB, "cohort": COHORT, "false_alarm_rate": RATE}), (0.3, 0.3), (0.0, 0.9)),
}
"""Versions at the border, or equal ones: each promotion and each rollback is an error."""


@pytest.mark.parametrize("case", CASES)
def test_however_different_a_cohort_is_the_tests_decide_as_without_it_and_err_as_often_as_stated(case: str) -> None:
    plan, rates, cohorts = CASES[case]
    ends = [[simulate(plan, seed, rates, cohort) for seed in range(SEEDS)] for cohort in cohorts]
    assert ends[0] == ends[1]
    assert sum(status in ("promoted", "rolled_back") for status in ends[0]) <= MOST_WRONG
    without = plan.model_copy(update={"cohort": None})
    assert ends[0][:10] == [simulate(without, seed, rates, 0.0) for seed in range(10)]


@pytest.mark.parametrize("case", CASES)
def test_counted_with_the_candidate_the_same_cohorts_decide_most_rollouts(case: str) -> None:
    """So the test above can fail."""
    plan, rates, cohorts = CASES[case]
    without = plan.model_copy(update={"cohort": None})
    for cohort in cohorts:
        ends = [simulate(without, seed, rates, cohort, pooled=True) for seed in range(SEEDS)]
        assert sum(status in ("promoted", "rolled_back") for status in ends) > MOST_WRONG
