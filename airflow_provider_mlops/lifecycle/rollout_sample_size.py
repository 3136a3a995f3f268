"""How many rewards an A/B test is planned for, worked out before it begins."""

from __future__ import annotations

import math

from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import AbStrategy


def planned_rewards(plan: RolloutPlan) -> tuple[int, int] | None:
    """Rewards of candidate and champion at which an A/B test ends without a decision; None if it has no such end.

    The confidence is that of a gate, so that more gates, or a smaller `false_alarm_rate`, need more rewards.

    >>> from airflow_provider_mlops.serving.rollouts.terms import Reward
    >>> from airflow_provider_mlops.serving.rollouts.gates import MetricGate
    >>> strategy = AbStrategy(smallest_effect=0.05, baseline=0.2)
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
        ratio = (1 - strategy.candidate_share) / strategy.candidate_share
        return strategy.planned_rewards, math.ceil(strategy.planned_rewards * ratio)
    if strategy.smallest_effect is None:
        return None
    from airflow_provider_mlops.lifecycle.rollout_findings import confidence_of
    from airflow_provider_mlops.stats.ab_sample_size import requests_for_sequence

    if strategy.baseline is not None:
        rates = (strategy.baseline + strategy.smallest_effect, strategy.baseline)
        # A rate of 1 has no deviation; the sequence knows no rate exactly.
        deviations = (max(math.sqrt(rates[0] * (1 - rates[0])), 1e-3), math.sqrt(rates[1] * (1 - rates[1])))
    else:
        assert strategy.deviation is not None
        deviations = (strategy.deviation, strategy.deviation)
    size = requests_for_sequence(
        deviations,
        strategy.smallest_effect,
        candidate_share=strategy.candidate_share,
        confidence=confidence_of(plan),
        power=strategy.power,
    )
    return size.candidate, size.champion


def tuned_for(plan: RolloutPlan) -> float:
    """At how many rewards of an arm the test of the metric is tightest."""
    planned = planned_rewards(plan)
    return float(plan.expected_requests if planned is None else sum(planned) / 2)
