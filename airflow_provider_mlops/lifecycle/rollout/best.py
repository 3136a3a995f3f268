"""The probability that each version of a bandit is the best one."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.serving.rollouts.plan.strategies import BanditStrategy, ContextualStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan


def probabilities_of_best(plan: RolloutPlan, evidence: Evidence) -> dict[str, float]:
    """Return the probability that each arm is the best, given the rewards and a prior; empty if no strategy learns.

    Rewards with two values have a beta posterior, others a Student's t posterior, with the algorithm's prior if it has
    one. UCB1 and epsilon-greedy have no prior; their rewards are judged with a weak one around the mean of all rewards.
    For a contextual bandit, it is the probability of being the best *for the average request*: the reward of an arm
    that answers all requests is its linear model at the mean of the features, which has a normal posterior.

    The probability is shown to people and decides nothing. It does not bound how often a decision is wrong: two equal
    versions pass any limit eventually if they are checked for long enough. `winner` has the test that decides.
    """
    strategy = plan.strategy
    if isinstance(strategy, BanditStrategy):
        probabilities = _of_bandit(plan, strategy, evidence)
    elif isinstance(strategy, ContextualStrategy):
        probabilities = _of_contextual(plan, strategy, evidence)
    else:
        return {}
    return {arm.name: probability for arm, probability in zip(plan.arms, probabilities, strict=True)}


def _of_bandit(plan: RolloutPlan, strategy: BanditStrategy, evidence: Evidence) -> list[float]:
    from airflow_provider_mlops.serving.rollouts.arm_statistics import reward_statistics
    from airflow_provider_mlops.serving.rollouts.build_policy import bandit_algorithm
    from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
    from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson

    reward = plan.required_reward
    statistics = reward_statistics([evidence.of_arm(arm.name) for arm in plan.arms], mirror=reward.mirror)
    posterior = bandit_algorithm(strategy, reward)
    if reward.is_binary and (reward.low, reward.high) == (0.0, 1.0) and not isinstance(posterior, BetaThompson):
        posterior = BetaThompson()
    elif not isinstance(posterior, BetaThompson | GaussianThompson):
        # Around the mean of all rewards: any other mean would attract the arms with few rewards.
        mean = float(statistics.total.sum() / max(statistics.count.sum(), 1.0))
        posterior = GaussianThompson(mean, prior_std=reward.range_width)
    return [float(probability) for probability in posterior.probability_of_best(statistics)]


def _of_contextual(plan: RolloutPlan, strategy: ContextualStrategy, evidence: Evidence) -> list[float]:
    from airflow_provider_mlops.serving.rollouts.arm_statistics import linear_statistics
    from airflow_provider_mlops.serving.rollouts.build_policy import noise_of
    from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import feature_encoding
    from airflow_provider_mlops.stats.bandits.linear_statistics import RidgeFit
    from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson

    reward = plan.required_reward
    arms = [evidence.of_arm(arm.name) for arm in plan.arms]
    size = len(feature_encoding(strategy).names)
    sums = linear_statistics(arms, size, mirror=reward.mirror)
    # The first feature is always one, so the first row of the sums of products holds the sums of the features.
    features = sums.gram[:, 0, :].sum(axis=0) / max(sums.count.sum(), 1.0)
    std = noise_of(strategy, reward, arms, sums)
    fit = RidgeFit.of(sums, strategy.l2_regularization)
    return [float(probability) for probability in LinearThompson(std).probability_of_best(fit, features)]
