"""From a rollout as it stands to the policy that its requests go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.policy.policy import Policy
from airflow_provider_mlops.serving.rollouts.algorithms import (
    BetaThompsonAlgorithm,
    EpsilonGreedyAlgorithm,
    GaussianThompsonAlgorithm,
    LinUCBAlgorithm,
)
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, linear_statistics, reward_statistics
from airflow_provider_mlops.serving.rollouts.config import Reward
from airflow_provider_mlops.serving.rollouts.evidence_delta import encoding_of
from airflow_provider_mlops.serving.rollouts.policies.bandit import Bandit
from airflow_provider_mlops.serving.rollouts.policies.canary import Canary
from airflow_provider_mlops.serving.rollouts.policies.contextual import Contextual, ContextualAlgorithm
from airflow_provider_mlops.serving.rollouts.policies.shadow import Shadow
from airflow_provider_mlops.serving.rollouts.policies.split import Split
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import (
    AbStrategy,
    BanditStrategy,
    CanaryStrategy,
    ContextualStrategy,
    ShadowStrategy,
)
from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1

_Algorithm: TypeAlias = BetaThompson | GaussianThompson | EpsilonGreedy | UCB1


def build(rollout: Rollout, statistics: Mapping[str, ArmStatistics]) -> Policy:
    """The policy.

    :param statistics: by arm, over all steps; only bandits go by them.
    """
    plan, state, strategy = rollout.plan, rollout.state, rollout.plan.strategy
    if not state.is_under_way:
        return to_version(plan, plan.champion if state.version is None else state.version)
    if isinstance(strategy, BanditStrategy):
        assert plan.reward is not None
        rewards = reward_statistics(_of_arms(plan, statistics), mirror=plan.reward.mirror)
        return Bandit(plan.arms, bandit_algorithm(strategy, plan.reward), rewards)
    if isinstance(strategy, ContextualStrategy):
        assert plan.reward is not None
        encoding = encoding_of(strategy)
        sums = linear_statistics(_of_arms(plan, statistics), len(encoding.names), mirror=plan.reward.mirror)
        return Contextual(plan.arms, contextual_algorithm(strategy, plan.reward), encoding, sums, strategy.strength)
    champion, candidate = plan.arms
    if isinstance(strategy, ShadowStrategy):
        return Shadow(champion, candidate, strategy.share)
    weights = state.weights or {}
    if isinstance(strategy, CanaryStrategy):
        return Canary(champion, candidate, weights[candidate.name], rollout.id)
    if isinstance(strategy, AbStrategy):
        return Split(plan.arms, [weights[arm.name] for arm in plan.arms], rollout.id)
    return to_version(plan, candidate.version)


def to_version(plan: RolloutPlan, version: int) -> Direct:
    """All traffic to one version of the rollout, under the name of its arm."""
    return Direct(version, next(arm.name for arm in plan.arms if arm.version == version))


def bandit_algorithm(strategy: BanditStrategy, reward: Reward) -> _Algorithm:
    """The algorithm of `stats.bandits`, for statistics of which more is better: those of costs are mirrored."""
    algorithm, floor, mirror = strategy.algorithm, strategy.min_propensity, reward.mirror
    if isinstance(algorithm, BetaThompsonAlgorithm):
        return BetaThompson(algorithm.prior_successes, algorithm.prior_failures, floor)
    if isinstance(algorithm, GaussianThompsonAlgorithm):
        # A prior mean is in units of the reward.
        mean = algorithm.prior_mean if mirror is None else mirror - algorithm.prior_mean
        std = reward.reach if algorithm.prior_std is None else algorithm.prior_std
        return GaussianThompson(mean, algorithm.prior_count, std, min_propensity=floor)
    if isinstance(algorithm, EpsilonGreedyAlgorithm):
        return EpsilonGreedy(algorithm.epsilon, algorithm.decay, floor)
    return UCB1(reward.reach if algorithm.width is None else algorithm.width, floor)


def contextual_algorithm(strategy: ContextualStrategy, reward: Reward) -> ContextualAlgorithm:
    """The algorithm of `stats.bandits`."""
    algorithm, floor = strategy.algorithm, strategy.min_propensity
    if isinstance(algorithm, LinUCBAlgorithm):
        return LinUCB(algorithm.exploration * reward.reach, floor)
    return LinearThompson(reward.reach if algorithm.std is None else algorithm.std, floor)


def _of_arms(plan: RolloutPlan, statistics: Mapping[str, ArmStatistics]) -> Sequence[ArmStatistics]:
    return [statistics.get(arm.name, ArmStatistics()) for arm in plan.arms]
