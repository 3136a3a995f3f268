"""How probable it is that each version of a bandit is the best one."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.rollout_findings import Evidence
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import (
    BanditStrategy,
    BetaThompsonAlgorithm,
    ContextualStrategy,
    GaussianThompsonAlgorithm,
    LinearThompsonAlgorithm,
)


def probabilities_of_best(plan: RolloutPlan, evidence: Evidence) -> dict[str, float]:
    """By arm, given the rewards and a prior; empty for strategies that do not learn.

    Rewards of two values have a beta posterior, others Student's, with the prior of the algorithm where it has one:
    UCB1 and epsilon-greedy have none, and what they have earned is judged with a flat one. For a contextual bandit it
    is the probability of being the best *for the average request*: what an arm would earn if it answered everybody is
    its linear model at the mean of the features, which has a normal posterior.

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
    from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
    from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson

    reward, algorithm = plan.reward, strategy.algorithm
    assert reward is not None
    statistics = reward_statistics([evidence.of_arm(arm.name) for arm in plan.arms], mirror=reward.mirror)
    if isinstance(algorithm, BetaThompsonAlgorithm):
        beta = BetaThompson(algorithm.prior_successes, algorithm.prior_failures)
    elif reward.is_binary and (reward.low, reward.high) == (0.0, 1.0):
        beta = BetaThompson()
    elif isinstance(algorithm, GaussianThompsonAlgorithm):
        gaussian = GaussianThompson(algorithm.prior_mean, algorithm.prior_count, algorithm.prior_deviation)
        return [float(share) for share in gaussian.probability_of_best(statistics)]
    else:
        reach = 1.0 if reward.low is None or reward.high is None else reward.high - reward.low
        return [float(share) for share in GaussianThompson(prior_deviation=reach).probability_of_best(statistics)]
    return [float(share) for share in beta.probability_of_best(statistics)]


def _of_contextual(plan: RolloutPlan, strategy: ContextualStrategy, evidence: Evidence) -> list[float]:
    from airflow_provider_mlops.serving.rollouts.additions import encoding_of
    from airflow_provider_mlops.serving.rollouts.arm_statistics import linear_statistics
    from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
    from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson

    assert plan.reward is not None
    arms = [evidence.of_arm(arm.name) for arm in plan.arms]
    slots = len(encoding_of(strategy).names)
    sums = linear_statistics(arms, slots, mirror=plan.reward.mirror)
    # The first feature is always one, so that the first row of the sums of products holds the sums of the features.
    features = sums.gram[:, 0, :].sum(axis=0) / max(sums.count.sum(), 1.0)
    algorithm = strategy.algorithm
    deviation = algorithm.deviation if isinstance(algorithm, LinearThompsonAlgorithm) else 1.0
    fit = RidgeFit.of(sums, strategy.strength)
    return [float(share) for share in LinearThompson(deviation).probability_of_best(fit, features)]
