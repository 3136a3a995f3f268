"""How probable it is that each version of a bandit is the best one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.rollout.findings import Evidence
from airflow_provider_mlops.serving.rollouts.algorithms import LinearThompsonAlgorithm
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import BanditStrategy, ContextualStrategy

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.reward import Reward
    from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics


def probabilities_of_best(plan: RolloutPlan, evidence: Evidence) -> dict[str, float]:
    """By arm, given the rewards and a prior; empty for strategies that do not learn.

    Rewards of two values have a beta posterior, others Student's, with the prior of the algorithm where it has one:
    UCB1 and epsilon-greedy have none, and what they have earned is judged with a weak one around the mean of all. For a
    contextual bandit it is the probability of being the best *for the average request*: what an arm would earn if it
    answered everybody is its linear model at the mean of the features, which has a normal posterior.

    A probability given a prior is not a bound on how often one is wrong when there is no best version: two equal ones
    looked at for long enough will pass any limit at some time.
    """
    strategy = plan.strategy
    if isinstance(strategy, BanditStrategy):
        found = _of_bandit(plan, strategy, evidence)
    elif isinstance(strategy, ContextualStrategy):
        found = _of_contextual(plan, strategy, evidence)
    else:
        return {}
    return {arm.name: share for arm, share in zip(plan.arms, found, strict=True)}


def _of_bandit(plan: RolloutPlan, strategy: BanditStrategy, evidence: Evidence) -> list[float]:
    from airflow_provider_mlops.serving.rollouts.arm_statistics import reward_statistics
    from airflow_provider_mlops.serving.rollouts.build_policy import bandit_algorithm
    from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
    from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson

    reward = plan.reward
    assert reward is not None
    statistics = reward_statistics([evidence.of_arm(arm.name) for arm in plan.arms], mirror=reward.mirror)
    judge = bandit_algorithm(strategy, reward)
    if reward.is_binary and (reward.low, reward.high) == (0.0, 1.0) and not isinstance(judge, BetaThompson):
        judge = BetaThompson()
    elif not isinstance(judge, BetaThompson | GaussianThompson):
        # Around what all have earned: a mean of its own would draw those to it that have few rewards.
        earned = float(statistics.total.sum() / max(statistics.count.sum(), 1.0))
        judge = GaussianThompson(earned, prior_std=reward.range_width)
    return [float(share) for share in judge.probability_of_best(statistics)]


def _of_contextual(plan: RolloutPlan, strategy: ContextualStrategy, evidence: Evidence) -> list[float]:
    from airflow_provider_mlops.serving.rollouts.arm_statistics import linear_statistics, reward_statistics
    from airflow_provider_mlops.serving.rollouts.evidence_delta import feature_encoding
    from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
    from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson

    assert plan.reward is not None
    arms = [evidence.of_arm(arm.name) for arm in plan.arms]
    slots = len(feature_encoding(strategy).names)
    sums = linear_statistics(arms, slots, mirror=plan.reward.mirror)
    # The first feature is always one, so that the first row of the sums of products holds the sums of the features.
    features = sums.gram[:, 0, :].sum(axis=0) / max(sums.count.sum(), 1.0)
    std = _deviation(plan.reward, strategy, reward_statistics(arms))
    fit = RidgeFit.of(sums, strategy.strength)
    return [float(share) for share in LinearThompson(std).probability_of_best(fit, features)]


def _deviation(reward: Reward, strategy: ContextualStrategy, earned: RewardStatistics) -> float:
    """Of the rewards around the linear models, at most: as declared, by the bounds, or that of all rewards."""
    declared = strategy.algorithm.std if isinstance(strategy.algorithm, LinearThompsonAlgorithm) else None
    if declared is not None:
        return declared
    if reward.low is not None:
        return reward.range_width
    count = max(float(earned.count.sum()), 1.0)
    variance = float(earned.squares.sum()) / count - (float(earned.total.sum()) / count) ** 2
    return math.sqrt(variance) if variance > 0 else 1.0
