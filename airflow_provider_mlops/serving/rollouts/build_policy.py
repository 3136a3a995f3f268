"""Build the routing policy of a rollout from its plan, its state and its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from airflow_provider_mlops.serving.policy.bandit import Bandit
from airflow_provider_mlops.serving.policy.canary import Canary
from airflow_provider_mlops.serving.policy.cohort import CohortFirst
from airflow_provider_mlops.serving.policy.contextual import Contextual, ContextualAlgorithm
from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.policy.policy import Policy
from airflow_provider_mlops.serving.policy.shadow import Shadow
from airflow_provider_mlops.serving.policy.split import Split
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, linear_statistics, reward_statistics
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import feature_encoding
from airflow_provider_mlops.serving.rollouts.plan.algorithms import (
    BetaThompsonAlgorithm,
    EpsilonGreedyAlgorithm,
    GaussianThompsonAlgorithm,
    LinearThompsonAlgorithm,
    LinUCBAlgorithm,
)
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import (
    AbStrategy,
    BanditStrategy,
    CanaryStrategy,
    ContextualStrategy,
    ShadowStrategy,
)
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, estimated_noise
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1

_Algorithm: TypeAlias = BetaThompson | GaussianThompson | EpsilonGreedy | UCB1


def build_policy(rollout: Rollout, statistics: Mapping[str, ArmStatistics]) -> Policy:
    """Return the policy of a rollout.

    Parameters
    ----------
    statistics
        Statistics of each arm over all steps; only bandits use them.
    """
    plan, state, strategy = rollout.plan, rollout.state, rollout.plan.strategy
    if not state.is_in_progress:
        return to_version(plan, plan.champion if state.version is None else state.version)
    arms = [statistics.get(arm.name, ArmStatistics()) for arm in plan.arms]
    if isinstance(strategy, BanditStrategy):
        reward = plan.required_reward
        rewards = reward_statistics(arms, mirror=reward.mirror)
        return Bandit(plan.arms, bandit_algorithm(strategy, reward), rewards)
    if isinstance(strategy, ContextualStrategy):
        reward, encoding = plan.required_reward, feature_encoding(strategy)
        sums = linear_statistics(arms, len(encoding.names), mirror=reward.mirror)
        algorithm = contextual_algorithm(strategy, reward, noise_of(strategy, reward, arms, sums))
        return Contextual(plan.arms, algorithm, encoding, sums, strategy.l2_regularization)
    champion, candidate = plan.arms
    if isinstance(strategy, ShadowStrategy):
        return Shadow(champion, candidate, strategy.share)
    weights = state.weights or {}
    if isinstance(strategy, CanaryStrategy):
        return _cohort_first(plan, Canary(champion, candidate, weights[candidate.name], rollout.id))
    if isinstance(strategy, AbStrategy):
        return _cohort_first(plan, Split(plan.arms, [weights[arm.name] for arm in plan.arms], rollout.id))
    return to_version(plan, candidate.version)


def _cohort_first(plan: RolloutPlan, policy: Policy) -> Policy:
    cohort = plan.cohort_arm
    return policy if cohort is None else CohortFirst(cohort.version, policy)


def to_version(plan: RolloutPlan, version: int) -> Direct:
    """Return the policy that sends all traffic to one version of the rollout, under the name of its arm."""
    return Direct(version, next(arm.name for arm in plan.arms if arm.version == version))


def bandit_algorithm(strategy: BanditStrategy, reward: Reward) -> _Algorithm:
    """Return the algorithm of `stats.bandits` for statistics where greater is better (those of costs are mirrored)."""
    algorithm, floor, mirror = strategy.algorithm, strategy.min_propensity, reward.mirror
    if isinstance(algorithm, BetaThompsonAlgorithm):
        return BetaThompson(algorithm.prior_successes, algorithm.prior_failures, floor)
    if isinstance(algorithm, GaussianThompsonAlgorithm):
        # The prior mean is in the units of the reward, so it is mirrored like the rewards.
        mean = algorithm.prior_mean if mirror is None else mirror - algorithm.prior_mean
        std = reward.range_width if algorithm.prior_std is None else algorithm.prior_std
        return GaussianThompson(mean, algorithm.prior_count, std, min_propensity=floor)
    if isinstance(algorithm, EpsilonGreedyAlgorithm):
        return EpsilonGreedy(algorithm.epsilon, algorithm.decay, floor)
    return UCB1(reward.range_width if algorithm.width is None else algorithm.width, floor)


def contextual_algorithm(strategy: ContextualStrategy, reward: Reward, noise: float) -> ContextualAlgorithm:
    """Return the algorithm of `stats.bandits` for a contextual bandit; `noise` is the result of `noise_of`."""
    algorithm, floor = strategy.algorithm, strategy.min_propensity
    if isinstance(algorithm, LinUCBAlgorithm):
        return LinUCB(algorithm.exploration * reward.range_width, floor)
    return LinearThompson(noise, floor)


def noise_of(
    strategy: ContextualStrategy, reward: Reward, arms: Sequence[ArmStatistics], sums: LinearStatistics
) -> float:
    """Return the standard deviation of rewards around the linear models: as declared, or estimated from the rewards."""
    if isinstance(strategy.algorithm, LinearThompsonAlgorithm) and strategy.algorithm.std is not None:
        return strategy.algorithm.std
    moments = reward_statistics(arms, mirror=reward.mirror)
    return estimated_noise(sums, moments, prior_std=reward.range_width, strength=strategy.l2_regularization)
