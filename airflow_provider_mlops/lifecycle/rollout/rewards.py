"""The comparison of two arms by their mean rewards, which decides metric gates, A/B tests and bandits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.sample_size import expected_n
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, cluster_sums
from airflow_provider_mlops.serving.rollouts.plan.gates import MetricGate
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import AbStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison


def compare_rewards(
    plan: RolloutPlan, gate: MetricGate, evidence: Evidence, arms: tuple[str, str], confidence: float
) -> SequentialComparison:
    """Compare the mean reward of the first arm with that of the second one, by the rule of the gate.

    Rewards that depend on each other, and those of several steps, of bandits or without bounds, are compared as sums of
    clusters. The exact tests are for independent rewards within bounds whose mean does not change.
    """
    pair = evidence.of_arm(arms[0]), evidence.of_arm(arms[1])
    reward = plan.required_reward
    if _needs_clusters(plan, reward, evidence, arms):
        return _compare_clusters(plan, gate, evidence, arms, confidence)
    if reward.is_binary:
        return _compare_rates(plan, reward, gate, pair, confidence)
    # The rewards decide which of two tests is used, so each gets half of the error.
    halved = (1 + confidence) / 2
    if looks_binary(reward, pair):
        comparison = _compare_rates(plan, reward, gate, pair, halved)
        hint = (
            f"All rewards so far are {reward.low:g} or {reward.high:g}; if this is always so, set binary=True in the "
            "reward, and the test needs fewer rewards."
        )
        return replace(comparison, sentence=f"{comparison.sentence} {hint}")
    return _compare_within_bounds(plan, reward, gate, pair, halved)


def looks_binary(reward: Reward, arms: tuple[ArmStatistics, ...]) -> bool:
    """Return whether all rewards so far are exactly one of the two bounds, although they are not declared binary."""
    count = sum(arm.reward_count for arm in arms)
    return not reward.is_binary and 0 < count == sum(arm.rewards_at_bounds for arm in arms)


def _needs_clusters(plan: RolloutPlan, reward: Reward, evidence: Evidence, arms: tuple[str, str]) -> bool:
    if reward.low is None or plan.sticky is not None or plan.weighs_rewards:
        return True
    if any(evidence.of_arm(arm).rewards_of_rows for arm in arms):
        return True
    # If the shares change between steps and the mean rewards change with time, sums over all steps mislead.
    compared = [
        all(part.reward_count for part in parts)
        for parts in zip(evidence.by_step(arms[0]), evidence.by_step(arms[1]), strict=True)
    ]
    return not plan.learns and sum(compared) > 1


def _compare_clusters(
    plan: RolloutPlan, gate: MetricGate, evidence: Evidence, arms: tuple[str, str], confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.lifecycle.rollout.error_rates import margin_for_now
    from airflow_provider_mlops.stats.sequences.compare_clusters import compare_clusters
    from airflow_provider_mlops.stats.sequences.mean import FIRST_LOOK

    reward = plan.required_reward
    pair = evidence.of_arm(arms[0]), evidence.of_arm(arms[1])
    is_rate = reward.is_binary and (reward.low, reward.high) == (0.0, 1.0)
    relaxes = gate.goal == "non_inferior" and gate.margin > 0 and bool(evidence.steps)
    now = margin_for_now(plan, gate.margin, evidence.number) if relaxes else None
    # Without weights, the mean rewards of a bandit must not change.
    adaptive = plan.learns and not plan.weighs_rewards
    sums = [cluster_sums([part.reward_clusters for part in evidence.by_step(arm)]) for arm in arms]
    return compare_clusters(
        sums[0],
        sums[1],
        (pair[0].reward_count, pair[1].reward_count),
        what="reward rate" if is_rate else "mean reward",
        greater_is_better=reward.greater_is_better,
        expected_variance=_expected_variance(plan, gate, pair, confidence),
        is_rate=is_rate and not plan.weighs_rewards,
        is_weighted=plan.weighs_rewards,
        assigned_by="rewards" if adaptive else "shares",
        margin=gate.margin,
        margin_for_now=now,
        goal=gate.goal,
        # With known shares, the clusters say when there is enough.
        min_count=FIRST_LOOK if adaptive and not is_rate else 0,
        confidence=confidence,
    )


def _expected_variance(
    plan: RolloutPlan, gate: MetricGate, pair: tuple[ArmStatistics, ArmStatistics], confidence: float
) -> float:
    """Return the variance of the difference at which the test is most sensitive."""
    from airflow_provider_mlops.stats.sequences.clusters import variance_to_detect

    strategy = plan.strategy
    if isinstance(strategy, AbStrategy) and strategy.min_effect is not None:
        return variance_to_detect(gate.distance_to_margin(strategy.min_effect), confidence)
    if gate.goal == "non_inferior" and gate.margin:
        return variance_to_detect(gate.margin, confidence)
    moments = pair[0].moments() + pair[1].moments()
    variance = moments.variance if moments.count > 1 else 0.0
    return 2 * variance / expected_n(plan) if variance > 0 else 1.0


def _compare_rates(
    plan: RolloutPlan, reward: Reward, gate: MetricGate, pair: tuple[ArmStatistics, ArmStatistics], confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_rates import compare_rates

    low, width = reward.low or 0.0, reward.range_width
    wins = [round((arm.reward_total - low * arm.reward_count) / width) for arm in pair]
    return compare_rates(
        wins[0],
        pair[0].reward_count,
        wins[1],
        pair[1].reward_count,
        what="reward rate",
        greater_is_better=reward.greater_is_better,
        margin=gate.margin / width,
        goal=gate.goal,
        confidence=confidence,
        expected_n=expected_n(plan),
    )


def _compare_within_bounds(
    plan: RolloutPlan, reward: Reward, gate: MetricGate, pair: tuple[ArmStatistics, ArmStatistics], confidence: float
) -> SequentialComparison:
    from airflow_provider_mlops.stats.sequences.compare_means import compare_bounded_means

    low, high = reward.low or 0.0, reward.high or 0.0
    expected = reward.expected_mean if reward.expected_mean is not None else (low + high) / 2
    return compare_bounded_means(
        pair[0].bounded_moments(expected),
        pair[1].bounded_moments(expected),
        low=low,
        high=high,
        what="mean reward",
        greater_is_better=reward.greater_is_better,
        margin=gate.margin,
        goal=gate.goal,
        confidence=confidence,
        expected_n=expected_n(plan),
    )
