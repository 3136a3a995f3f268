"""What other policies would have earned in a rollout, from the log of the one that ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.policy.policy import SHADOW
from airflow_provider_mlops.serving.rollouts.evidence_delta import earned, encoding_of
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import ContextualStrategy

if TYPE_CHECKING:
    import ibis
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.stats.bandits.off_policy import OffPolicyEstimate

Policy: TypeAlias = Callable[[Mapping[str, Any] | None], Sequence[float]]
"""The probability of each arm, in the order of the rollout's arms, for the logged context of a request."""


@dataclass(frozen=True)
class LoggedDecisions:
    """The decisions of a rollout for which a reward has come: one for each request, whose rows' rewards are averaged.

    :ivar arms: places in the order of the rollout's arms, of shape `(decisions,)`; `propensities` and `rewards` alike.
    """

    plan: RolloutPlan
    arms: NDArray[np.int64]
    propensities: NDArray[np.float64]
    rewards: NDArray[np.float64]
    contexts: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True)
class Counterfactual:
    """What a policy would have earned for each request, by three estimators of `stats.off_policy`."""

    inverse_propensity: OffPolicyEstimate
    self_normalized: OffPolicyEstimate
    doubly_robust: OffPolicyEstimate


def always(plan: RolloutPlan, arm: str) -> Policy:
    """Every request to one arm."""
    shares = [float(known.name == arm) for known in plan.arms]
    return lambda context: shares


def uniform(plan: RolloutPlan) -> Policy:
    """Every arm as often as any other."""
    shares = [1 / len(plan.arms)] * len(plan.arms)
    return lambda context: shares


def logged_decisions(storage_uri: str, rollout: Rollout, connection: ibis.BaseBackend | None = None) -> LoggedDecisions:
    """Read the rollout's decisions and their rewards from the prediction log.

    Raises InvalidSpecError if the rollout has no rewards, or none has come.
    """
    import numpy as np

    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.serving.log import prediction_log

    plan = rollout.plan
    if plan.reward is None:
        raise InvalidSpecError("rollout", rollout.id, "it declares no reward, so that nothing was earned")
    since, backend = rollout.state.started_at, engine.connect() if connection is None else connection
    table = prediction_log.read(storage_uri, rollout.model, since=since, connection=backend)
    table = table.filter(table.rollout == rollout.id, table.arm != SHADOW)
    rows = table.select("prediction_id", "arm", "propensity", "context", "output")
    rows = rows.inner_join(prediction_log.first_feedback(storage_uri, since=since, connection=backend), "prediction_id")
    rewards: dict[str, list[float]] = {}
    known: dict[str, dict[str, Any]] = {}
    for row in rows.order_by("prediction_id").to_pyarrow().to_pylist():
        reward = earned(plan.reward, row["output"], row["label"], row["reward"])
        if reward is not None:
            decision = row["prediction_id"][:32]
            rewards.setdefault(decision, []).append(reward)
            known[decision] = row
    if len(rewards) < 2:
        raise InvalidSpecError("rollout", rollout.id, "fewer than two of its decisions have a reward yet")
    places = {arm.name: place for place, arm in enumerate(plan.arms)}
    return LoggedDecisions(
        plan=plan,
        arms=np.array([places[row["arm"]] for row in known.values()], dtype=np.int64),
        propensities=np.array([row["propensity"] for row in known.values()]),
        rewards=np.array([float(np.mean(rewards[name])) for name in known]),
        contexts=tuple(None if row["context"] is None else json.loads(row["context"]) for row in known.values()),
    )


def counterfactual(decisions: LoggedDecisions, policy: Policy, *, confidence: float = 0.95) -> Counterfactual:
    """What the policy would have earned for each request, in units of the reward.

    Raises ValueError if the policy would have made none of the logged decisions.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bandits.cross_fitting import cross_fitted_rewards
    from airflow_provider_mlops.stats.bandits.off_policy import doubly_robust, inverse_propensity, self_normalized

    shares = np.array([policy(context) for context in decisions.contexts], dtype=np.float64)
    probabilities = shares[np.arange(len(shares)), decisions.arms]
    modelled = cross_fitted_rewards(_features(decisions), decisions.arms, decisions.rewards, shares.shape[1])
    logged = decisions.rewards, decisions.propensities
    return Counterfactual(
        inverse_propensity(*logged, probabilities, confidence=confidence),
        self_normalized(*logged, probabilities, confidence=confidence),
        doubly_robust(*logged, decisions.arms, shares, modelled, confidence=confidence),
    )


def _features(decisions: LoggedDecisions) -> NDArray[np.float64]:
    """What the model of the rewards goes by: the encoded context, or the arm alone."""
    import numpy as np

    strategy = decisions.plan.strategy
    if not isinstance(strategy, ContextualStrategy):
        return np.ones((decisions.arms.size, 1))
    encoding = encoding_of(strategy)
    return np.array([encoding.encode(context) for context in decisions.contexts])
