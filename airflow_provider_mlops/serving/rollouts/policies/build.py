"""From a rollout as it stands to the policy that its requests go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_mlops.serving.rollouts.additions import encoding_of
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, linear_statistics, reward_statistics
from airflow_provider_mlops.serving.rollouts.policies.bandit import Algorithm, Bandit
from airflow_provider_mlops.serving.rollouts.policies.canary import Canary
from airflow_provider_mlops.serving.rollouts.policies.contextual import Contextual, ContextualAlgorithm
from airflow_provider_mlops.serving.rollouts.policies.direct import Direct
from airflow_provider_mlops.serving.rollouts.policies.shadow import Shadow
from airflow_provider_mlops.serving.rollouts.policies.split import Split
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.routes import Policy
from airflow_provider_mlops.serving.rollouts.strategies import (
    AbStrategy,
    BanditStrategy,
    BetaThompsonAlgorithm,
    CanaryStrategy,
    ContextualStrategy,
    EpsilonGreedyAlgorithm,
    GaussianThompsonAlgorithm,
    LinUcbAlgorithm,
    ShadowStrategy,
)
from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUcb
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import Ucb1


def build(rollout: Rollout, statistics: Mapping[str, ArmStatistics]) -> Policy:
    """The policy.

    :param statistics: by arm, over all steps; only bandits go by them.
    """
    plan, state, strategy = rollout.plan, rollout.state, rollout.plan.strategy
    if not state.is_under_way:
        return to_version(plan, plan.champion if state.version is None else state.version)
    if isinstance(strategy, BanditStrategy):
        return Bandit(
            plan.arms, bandit_algorithm(strategy), reward_statistics(_of_arms(plan, statistics), mirror=_mirror(plan))
        )
    if isinstance(strategy, ContextualStrategy):
        encoding = encoding_of(strategy)
        sums = linear_statistics(_of_arms(plan, statistics), len(encoding.names), mirror=_mirror(plan))
        return Contextual(plan.arms, contextual_algorithm(strategy), encoding, sums, strategy.strength)
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


def bandit_algorithm(strategy: BanditStrategy) -> Algorithm:
    """The algorithm of `stats.bandits`."""
    algorithm, floor = strategy.algorithm, strategy.minimum_propensity
    if isinstance(algorithm, BetaThompsonAlgorithm):
        return BetaThompson(algorithm.prior_successes, algorithm.prior_failures, floor)
    if isinstance(algorithm, GaussianThompsonAlgorithm):
        return GaussianThompson(
            algorithm.prior_mean, algorithm.prior_count, algorithm.prior_deviation, minimum_propensity=floor
        )
    if isinstance(algorithm, EpsilonGreedyAlgorithm):
        return EpsilonGreedy(algorithm.epsilon, algorithm.decay, floor)
    return Ucb1(algorithm.width, floor)


def contextual_algorithm(strategy: ContextualStrategy) -> ContextualAlgorithm:
    """The algorithm of `stats.bandits`."""
    algorithm, floor = strategy.algorithm, strategy.minimum_propensity
    if isinstance(algorithm, LinUcbAlgorithm):
        return LinUcb(algorithm.exploration, floor)
    return LinearThompson(algorithm.deviation, floor)


def _of_arms(plan: RolloutPlan, statistics: Mapping[str, ArmStatistics]) -> Sequence[ArmStatistics]:
    return [statistics.get(arm.name, ArmStatistics()) for arm in plan.arms]


def _mirror(plan: RolloutPlan) -> float | None:
    return None if plan.reward is None else plan.reward.mirror
