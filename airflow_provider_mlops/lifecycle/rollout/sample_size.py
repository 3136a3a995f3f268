"""How many rewards an A/B test is planned for, worked out before it begins."""

from __future__ import annotations

import math

from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import AbStrategy


def planned_rewards(plan: RolloutPlan) -> tuple[int, int] | None:
    """Rewards of candidate and champion at which an A/B test ends without a decision; None if it has no such end.

    With so many, a candidate that is better by `min_effect` passes the gate of the metric with a chance of
    `power`. The confidence is that of a gate, so that more gates, or a smaller `false_alarm_rate`, need more rewards.

    >>> from airflow_provider_mlops.serving.rollouts.config import Reward
    >>> from airflow_provider_mlops.serving.rollouts.gates import MetricGate
    >>> strategy = AbStrategy(min_effect=0.05, baseline=0.2)
    >>> plan = RolloutPlan(
    ...     champion=1, candidates=(2,), strategy=strategy, gates=(MetricGate(),), reward=Reward(binary=True)
    ... )
    >>> candidate, champion = planned_rewards(plan)
    >>> candidate == champion, 1_000 < candidate < 5_000
    (True, True)
    """
    strategy = plan.strategy
    if not isinstance(strategy, AbStrategy):
        return None
    if strategy.planned_rewards is not None:
        return _shared(strategy.planned_rewards, strategy)
    return None if strategy.min_effect is None else _worked_out(plan, strategy, strategy.min_effect)


def _worked_out(plan: RolloutPlan, strategy: AbStrategy, effect: float) -> tuple[int, int]:
    """By the test that judges these rewards, see `rollout_findings`."""
    from airflow_provider_mlops.stats.sequences.mean import FIRST_LOOK
    from airflow_provider_mlops.stats.sequences.sample_size import (
        requests_for_bounded_sequence,
        requests_for_sequence,
    )

    reward = plan.reward
    assert reward is not None
    room = min(gate.room(effect) for gate in plan.metric_gates)
    test = {
        "candidate_share": strategy.candidate_share, "confidence": plan.gate_confidence, "power": strategy.power,
    }  # fmt: skip
    if strategy.baseline is not None:
        improved = strategy.baseline + (effect if reward.greater_is_better else -effect) / reward.reach
        # A rate of 0 or 1 has no deviation; the sequence knows no rate exactly.
        one, other = (max(math.sqrt(max(rate * (1 - rate), 0.0)), 1e-3) for rate in (improved, strategy.baseline))
        size = requests_for_sequence((one, other), room / reward.reach, **test)
        return size.candidate, size.champion
    assert strategy.std is not None
    deviations = (strategy.std, strategy.std)
    if reward.low is not None and not reward.is_binary:
        # What is expected is about the champion's mean.
        size = requests_for_bounded_sequence(deviations, room, range_width=reward.reach, biases=(effect, 0.0), **test)
        return size.candidate, size.champion
    size = requests_for_sequence(deviations, room, **test)
    if reward.is_binary:
        return size.candidate, size.champion
    # With fewer of either arm the test of means without bounds says nothing.
    share = strategy.candidate_share
    return _shared(max(size.candidate, math.ceil(FIRST_LOOK * max(1.0, share / (1 - share)))), strategy)


def _shared(candidate: int, strategy: AbStrategy) -> tuple[int, int]:
    """With the champion's, by the split."""
    return candidate, math.ceil(candidate * (1 - strategy.candidate_share) / strategy.candidate_share)


def expected_n(plan: RolloutPlan) -> float:
    """At how many rewards of an arm the test of the metric is tightest."""
    planned = planned_rewards(plan)
    return float(plan.expected_requests if planned is None else sum(planned) / 2)
