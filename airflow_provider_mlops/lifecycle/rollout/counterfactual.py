"""Estimates of the reward that other policies would have earned in a rollout, from the log of the policy that ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.policy.policy import COHORT, SHADOW
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import feature_encoding, observed_reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import ContextualStrategy
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan

if TYPE_CHECKING:
    import ibis
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.stats.bandits.off_policy import OffPolicyEstimate

Policy: TypeAlias = Callable[[Mapping[str, Any] | None], Sequence[float]]
"""The probability of each arm, in the order of the rollout's arms, for the logged context of a request."""


@dataclass(frozen=True)
class LoggedDecisions:
    """The decisions of a rollout that have a reward: one per request. Rewards of a request's rows are averaged.

    Parameters
    ----------
    arms
        Index of the arm that was chosen in the rollout's arms, shape (decisions,).
    propensities
        Probability with which it was chosen, shape (decisions,).
    rewards
        Reward of each request, shape (decisions,).
    contexts
        Declared features of each request.
    """

    plan: RolloutPlan
    arms: NDArray[np.int64]
    propensities: NDArray[np.float64]
    rewards: NDArray[np.float64]
    contexts: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True)
class Counterfactual:
    """Estimates of the mean reward per request under a policy, by three estimators of `stats.bandits`."""

    inverse_propensity: OffPolicyEstimate
    self_normalized: OffPolicyEstimate
    doubly_robust: OffPolicyEstimate


def always(plan: RolloutPlan, arm: str) -> Policy:
    """Return the policy that sends every request to one arm."""
    probabilities = [float(candidate.name == arm) for candidate in plan.arms]
    return lambda context: probabilities


def uniform(plan: RolloutPlan) -> Policy:
    """Return the policy that chooses all arms with the same probability."""
    probabilities = [1 / len(plan.arms)] * len(plan.arms)
    return lambda context: probabilities


def logged_decisions(storage_uri: str, rollout: Rollout, connection: ibis.BaseBackend | None = None) -> LoggedDecisions:
    """Read the rollout's decisions and their rewards from the prediction log.

    Raises InvalidSpecError if the rollout declares no reward, or if fewer than two decisions have one.
    """
    import numpy as np

    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.serving.log import prediction_log

    plan = rollout.plan
    if plan.reward is None:
        hint = "the rollout declares no reward, so policies cannot be compared. Choose a rollout with a reward"
        raise InvalidSpecError("rollout", rollout.id, hint)
    since, backend = rollout.state.started_at, engine.connect() if connection is None else connection
    table = prediction_log.read(storage_uri, rollout.model, since=since, connection=backend)
    # A cohort was not chosen at random: its requests had no other choice, and say nothing about other policies.
    table = table.filter(table.rollout == rollout.id, table.arm.notin([SHADOW, COHORT]))
    rows = table.select("prediction_id", "arm", "propensity", "context", "output")
    rows = rows.inner_join(prediction_log.first_feedback(storage_uri, since=since, connection=backend), "prediction_id")
    rewards: dict[str, list[float]] = {}
    decisions: dict[str, dict[str, Any]] = {}
    for row in rows.order_by("prediction_id").to_pyarrow().to_pylist():
        reward = observed_reward(plan.reward, row["output"], row["label"], row["reward"])
        if reward is not None:
            decision = row["prediction_id"][:32]
            rewards.setdefault(decision, []).append(reward)
            decisions[decision] = row
    if len(rewards) < 2:
        hint = "fewer than two of the rollout's decisions have a reward so far. Wait for more feedback"
        raise InvalidSpecError("rollout", rollout.id, hint)
    index = {arm.name: position for position, arm in enumerate(plan.arms)}
    return LoggedDecisions(
        plan=plan,
        arms=np.array([index[row["arm"]] for row in decisions.values()], dtype=np.int64),
        propensities=np.array([row["propensity"] for row in decisions.values()]),
        rewards=np.array([float(np.mean(rewards[name])) for name in decisions]),
        contexts=tuple(None if row["context"] is None else json.loads(row["context"]) for row in decisions.values()),
    )


def counterfactual(decisions: LoggedDecisions, policy: Policy, *, confidence: float = 0.95) -> Counterfactual:
    """Estimate the mean reward per request under a policy, in the units of the reward.

    Raises ValueError if the policy assigns zero probability to every logged decision.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bandits.cross_fitting import cross_fitted_rewards
    from airflow_provider_mlops.stats.bandits.off_policy import doubly_robust, inverse_propensity, self_normalized

    probabilities = np.array([policy(context) for context in decisions.contexts], dtype=np.float64)
    of_logged_arm = probabilities[np.arange(len(probabilities)), decisions.arms]
    predicted = cross_fitted_rewards(_features(decisions), decisions.arms, decisions.rewards, probabilities.shape[1])
    logged = decisions.rewards, decisions.propensities
    return Counterfactual(
        inverse_propensity(*logged, of_logged_arm, confidence=confidence),
        self_normalized(*logged, of_logged_arm, confidence=confidence),
        doubly_robust(*logged, decisions.arms, probabilities, predicted, confidence=confidence),
    )


def _features(decisions: LoggedDecisions) -> NDArray[np.float64]:
    """Return the inputs of the reward model: the encoded context, or a constant for rollouts without context."""
    import numpy as np

    strategy = decisions.plan.strategy
    if not isinstance(strategy, ContextualStrategy):
        return np.ones((decisions.arms.size, 1))
    encoding = feature_encoding(strategy)
    return np.array([encoding.encode(context) for context in decisions.contexts])
