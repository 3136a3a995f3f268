"""The sample size of an A/B test, computed before it starts."""

from __future__ import annotations

import math

from airflow_provider_mlops.serving.rollouts.plan.strategies import AbStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan


def sample_sizes(plan: RolloutPlan) -> tuple[int, int] | None:
    """Return the number of the candidate's and the champion's rewards at which an A/B test ends without a decision.

    None if the test has no planned end. With these numbers, a candidate that is better by `min_effect` passes the
    metric gate with the probability `power`. The confidence is that of one gate, so more gates, or a smaller
    `false_alarm_rate`, need more rewards.

    >>> from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
    >>> from airflow_provider_mlops.serving.rollouts.plan.gates import MetricGate
    >>> strategy = AbStrategy(min_effect=0.05, baseline=0.2)
    >>> plan = RolloutPlan(
    ...     champion=1, candidates=(2,), strategy=strategy, gates=(MetricGate(),), reward=Reward(binary=True)
    ... )
    >>> candidate, champion = sample_sizes(plan)
    >>> candidate == champion, 1_000 < candidate < 5_000
    (True, True)
    """
    strategy = plan.strategy
    if not isinstance(strategy, AbStrategy):
        return None
    if strategy.sample_size is not None:
        return _with_champion(strategy.sample_size, strategy)
    return None if strategy.min_effect is None else _required_sizes(plan, strategy, strategy.min_effect)


def _required_sizes(plan: RolloutPlan, strategy: AbStrategy, effect: float) -> tuple[int, int]:
    """Return the sizes that the test of these rewards needs; `findings` chooses the same test."""
    from airflow_provider_mlops.stats.sequences.clusters import MIN_CLUSTERS
    from airflow_provider_mlops.stats.sequences.sample_size import (
        requests_for_bounded_sequence,
        requests_for_sequence,
    )

    reward, share = plan.required_reward, strategy.candidate_share
    detectable = min(gate.distance_to_margin(effect) for gate in plan.metric_gates)
    test = {"candidate_share": share, "confidence": plan.gate_confidence, "power": strategy.power}
    if strategy.baseline is not None:
        improved = strategy.baseline + (effect if reward.greater_is_better else -effect) / reward.range_width
        stds = (_std_of_rate(improved), _std_of_rate(strategy.baseline))
        size = requests_for_sequence(stds, detectable / reward.range_width, **test)
        return size.candidate, size.champion
    if strategy.std is None:
        raise ValueError("min_effect needs baseline or std")
    stds = (strategy.std, strategy.std)
    if reward.low is not None and not reward.is_binary:
        # The expected mean is an estimate of the champion's mean.
        size = requests_for_bounded_sequence(
            stds, detectable, range_width=reward.range_width, biases=(effect, 0.0), **test
        )
        return size.candidate, size.champion
    size = requests_for_sequence(stds, detectable, **test)
    if reward.is_binary:
        return size.candidate, size.champion
    # With fewer clusters of either arm, the test of means without bounds is inconclusive. Rewards may share clusters.
    fewest = 2 * MIN_CLUSTERS * max(1.0, share / (1 - share))
    return _with_champion(max(size.candidate, math.ceil(fewest)), strategy)


def _std_of_rate(rate: float) -> float:
    """Return the standard deviation of a reward with two values; above 0, because no rate is known exactly."""
    return max(math.sqrt(max(rate * (1 - rate), 0.0)), 1e-3)


def _with_champion(candidate: int, strategy: AbStrategy) -> tuple[int, int]:
    """Return the candidate's number of rewards and the champion's, which follows from the split."""
    return candidate, math.ceil(candidate * (1 - strategy.candidate_share) / strategy.candidate_share)


def expected_n(plan: RolloutPlan) -> float:
    """Return the number of rewards per arm at which the test of the metric is most sensitive."""
    sizes = sample_sizes(plan)
    return float(plan.expected_requests if sizes is None else sum(sizes) / 2)
