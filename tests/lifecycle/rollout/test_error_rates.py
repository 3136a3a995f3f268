"""How often decisions about rollouts are wrong, over many simulated rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout import decision as rollout_decision
from airflow_provider_mlops.lifecycle.rollout.decision import decide
from airflow_provider_mlops.lifecycle.rollout.error_rates import concurrent_counts
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, RolloutState
from tests.helpers.decisions import AB, HOUR, NOW, begun, canary

Draw = Callable[[np.random.Generator, int], tuple[ArmStatistics, ArmStatistics]]


def doubled(first: int, looks: int) -> list[int]:
    """Requests before each look where there are twice as many in total at each.

    Looks err by chance the more often the less they have in common: six of these go wrong as often as a dozen that
    are evenly spaced, at half the cost.
    """
    return [first, *(first * 2**look for look in range(looks - 1))]


def simulate(plan: RolloutPlan, draw: Draw, seed: int, looks: Sequence[int]) -> RolloutState:
    """A rollout that is looked at again and again, with so many requests before each look."""
    generator, state = np.random.default_rng(seed), begun(plan)
    seen: dict[tuple[int, str], ArmStatistics] = {}
    for look, requests in enumerate(looks, start=1):
        share = 0.5 if state.weights is None else state.weights[plan.arms[1].name]
        candidates = int(generator.binomial(requests, share))
        for arm, count, place in zip(plan.arms, (requests - candidates, candidates), (0, 1), strict=True):
            added = draw(generator, count)[place]
            key = (state.step, arm.name)
            seen[key] = seen.get(key, ArmStatistics()) + added
        now = NOW + look * HOUR
        decision = decide(plan, state, Evidence.of(seen, state.step), now)
        state = rollout_decision.apply(decision, plan, state, now, "task")
        if not state.is_in_progress:
            break
    return state


def errors(champion: float, candidate: float) -> Draw:
    def draw(generator: np.random.Generator, count: int) -> tuple[ArmStatistics, ArmStatistics]:
        failed = [int(generator.binomial(count, rate)) for rate in (champion, candidate)]
        return ArmStatistics(requests=count, errors=failed[0]), ArmStatistics(requests=count, errors=failed[1])

    return draw


def wins(champion: float, candidate: float) -> Draw:
    def draw(generator: np.random.Generator, count: int) -> tuple[ArmStatistics, ArmStatistics]:
        won = [float(generator.binomial(count, rate)) for rate in (champion, candidate)]
        one, other = (
            ArmStatistics(requests=count, reward_count=count, reward_total=win, reward_deviations=win) for win in won
        )
        return one, other

    return draw


RATE, SEEDS, LOOKS = 0.2, 50, doubled(160, 7)
MOST_WRONG = int(stats.binom.ppf(0.999, SEEDS, RATE))


def test_at_the_border_any_decision_is_wrong_and_at_most_as_frequent_as_stated() -> None:
    """The candidate's error rate is just as much higher as it may be: to promote and to roll back are both wrong."""
    plan = canary(
        strategy={"kind": "canary", "steps": [0.5]},
        min_requests=0,
        bake_time=timedelta(0),
        expected_requests=500,
        false_alarm_rate=RATE,
        decision_timeout=timedelta(days=900),
    )
    ends = [simulate(plan, errors(0.05, 0.10), seed, LOOKS).status for seed in range(SEEDS)]
    assert sum(status != "running" for status in ends) <= MOST_WRONG


def test_that_border_is_too_hard_for_a_test_that_is_made_for_one_look() -> None:
    """So the test above can fail: a z-test at each look decides more often than stated."""
    added = np.array(LOOKS)[:, None] // 2
    failed = np.random.default_rng(0).binomial(added, [0.05, 0.10], size=(SEEDS, len(LOOKS), 2)).cumsum(axis=1)
    trials = added.cumsum(axis=0)
    rates = failed / trials
    error = np.sqrt((rates * (1 - rates) / trials).sum(axis=-1))
    wrong = np.abs(rates[..., 1] - rates[..., 0] - 0.05) > stats.norm.isf(RATE / 2) * error
    assert wrong.any(axis=1).sum() > MOST_WRONG


def test_an_ab_test_of_equal_versions_is_decided_at_most_as_often_as_stated() -> None:
    plan = canary(**{**AB, "false_alarm_rate": RATE})
    planned = sample_sizes(plan)
    assert planned is not None
    ends = [simulate(plan, wins(0.3, 0.3), seed, doubled(200, 4)).status for seed in range(SEEDS)]
    assert sum(status in ("promoted", "rolled_back") for status in ends) <= MOST_WRONG
    # The others end at the planned size.
    assert ends.count("ended") >= SEEDS - MOST_WRONG


def test_an_ab_test_finds_what_it_was_planned_for() -> None:
    plan = canary(**AB)
    ends = [simulate(plan, wins(0.3, 0.4), seed, [600] * 6).status for seed in range(30)]
    # Planned for a power of 0.8.
    assert ends.count("promoted") >= int(stats.binom.ppf(0.001, 30, 0.8))
    assert ends.count("rolled_back") <= 3


def test_a_bad_version_is_rolled_back_in_the_first_step() -> None:
    plan = canary(strategy={"kind": "canary", "steps": [0.1, 0.5, 1.0]}, gates=[{"kind": "error_rate"}])
    for seed in range(15):
        state = simulate(plan, errors(0.02, 0.4), seed, [100] * 30)
        assert (state.status, state.step, state.version) == ("rolled_back", 0, 1)


def test_a_good_version_gets_through_all_steps() -> None:
    plan = canary(strategy={"kind": "canary", "steps": [0.1, 0.5, 1.0]}, decision_timeout=timedelta(days=900))
    ends = [simulate(plan, errors(0.02, 0.02), seed, [600] * 30) for seed in range(8)]
    assert all((state.status, state.step, state.version) == ("promoted", 2, 2) for state in ends)


def test_several_gates_together_keep_the_stated_rate() -> None:
    """Equal versions, and four things that could go wrong: rollbacks of all gates together are rare."""
    gates = [
        {"kind": "error_rate", "margin": 0.0},
        {"kind": "latency", "ratio": 1.2},
        {"kind": "drift", "classes": ["a", "b"], "max_distance": 0.01},
        {"kind": "metric", "goal": "non_inferior"},
    ]
    plan = canary(
        strategy={"kind": "canary", "steps": [0.5]},
        gates=gates,
        reward={"binary": True},
        false_alarm_rate=RATE,
        decision_timeout=timedelta(days=900),
    )

    def draw(generator: np.random.Generator, count: int) -> tuple[ArmStatistics, ArmStatistics]:
        arms = []
        for _ in range(2):
            cells, counts = np.unique(
                [latency_cell(ms) for ms in generator.lognormal(2, 0.5, count)], return_counts=True
            )
            firsts, won = int(generator.binomial(count, 0.5)), float(generator.binomial(count, 0.3))
            arms.append(
                ArmStatistics(
                    count,
                    int(generator.binomial(count, 0.05)),
                    count,
                    0,
                    0,
                    dict(zip(cells.tolist(), counts.tolist(), strict=True)),
                    {0: firsts, 1: count - firsts},
                    count,
                    won,
                    won,
                )
            )
        return arms[0], arms[1]

    seeds = 20
    ends = [simulate(plan, draw, seed, doubled(400, 5)).status for seed in range(seeds)]
    assert ends.count("rolled_back") <= int(stats.binom.ppf(0.999, seeds, RATE))
    assert "promoted" not in ends


def outage(arm: str, requests: int, expected: bool, usual: int = 4000) -> ArmStatistics:
    """Of an arm, 1 % failures, and an outage in which every request fails."""
    levels = {10: (requests, requests)} if expected else {}
    return ArmStatistics(requests=usual + requests, errors=usual // 100 + requests, expected_errors=levels)


def test_an_outage_that_was_expected_does_not_keep_a_candidate_from_passing() -> None:
    plan = canary(strategy={"kind": "canary", "steps": [0.5]}, gates=[{"kind": "error_rate", "margin": 0.02}])
    verdicts = []
    for expected in (True, False):
        arms = {(0, arm): outage(arm, count, expected) for arm, count in (("candidate", 520), ("champion", 480))}
        verdicts.append(findings(plan, Evidence.of(arms, 0))[0].verdict)
    assert verdicts == ["better", "inconclusive"]


def test_levels_at_which_the_requests_do_not_fit_the_shares_are_not_used() -> None:
    """A version that answers late meets another level than the other one, so the level would not be known before."""
    plan = canary(strategy={"kind": "canary", "steps": [0.5]}, gates=[{"kind": "error_rate", "margin": 0.02}])
    late = ArmStatistics(requests=4500, errors=540, expected_errors={10: (500, 500)})
    fast = ArmStatistics(requests=4500, errors=540, expected_errors={3: (500, 500)})
    evidence = Evidence.of({(0, "candidate"): late, (0, "champion"): fast}, 0)
    counts = concurrent_counts(plan, evidence, "candidate")
    assert counts is not None
    assert [part.expected for part in counts] == [0.0]


def test_statistics_without_levels_are_at_the_lowest_one() -> None:
    plan = canary(strategy={"kind": "canary", "steps": [0.25]})
    parts = ArmStatistics(requests=100, errors=8, expected_errors={2: (10, 5), 7: (4, 3)})
    others = ArmStatistics(requests=300, errors=9)
    counts = concurrent_counts(plan, Evidence.of({(0, "candidate"): parts, (0, "champion"): others}, 0), "candidate")
    assert counts == [(0, 86, 9, 300, 0.25, 0.0), (5, 10, 0, 0, 0.25, 0.2), (3, 4, 0, 0, 0.25, 0.7)]
