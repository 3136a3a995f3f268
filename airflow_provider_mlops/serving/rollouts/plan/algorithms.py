"""The algorithms of bandits, declared as data: how rewards become probabilities. `kind` selects the algorithm."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class _Algorithm(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class BetaThompsonAlgorithm(_Algorithm):
    """Thompson sampling for rewards between 0 and 1."""

    kind: Literal["thompson_beta"] = "thompson_beta"
    prior_successes: float = Field(
        default=1.0, gt=0, description="Prior number of successes of each version, before any reward arrives."
    )
    prior_failures: float = Field(
        default=1.0, gt=0, description="Prior number of failures of each version, before any reward arrives."
    )


class GaussianThompsonAlgorithm(_Algorithm):
    """Thompson sampling for rewards of any size."""

    kind: Literal["thompson_gaussian"] = "thompson_gaussian"
    prior_mean: float = Field(default=0.0, description="Assumed mean reward of each version before any reward arrives.")
    prior_count: float = Field(
        default=0.01,
        gt=0,
        description="Weight of `prior_mean`, as a number of observed rewards.",
    )
    prior_std: float | None = Field(
        default=None,
        gt=0,
        description="Rough estimate of the standard deviation of the rewards. Defaults to reward.high - reward.low, or "
        "1 if rewards have no bounds.",
    )


class UCB1Algorithm(_Algorithm):
    """UCB1: the version with the highest upper confidence bound."""

    kind: Literal["ucb1"] = "ucb1"
    width: float | None = Field(
        default=None,
        gt=0,
        description="Width of the reward range. With a smaller width the bandit explores less. Defaults to "
        "reward.high - reward.low, or 1 if rewards have no bounds.",
    )


class EpsilonGreedyAlgorithm(_Algorithm):
    """Epsilon-greedy: the best version so far, and sometimes a random one."""

    kind: Literal["epsilon_greedy"] = "epsilon_greedy"
    epsilon: float = Field(default=0.1, ge=0, le=1, description="Share of requests that get a random version.")
    decay: float | None = Field(
        default=None,
        gt=0,
        description="Number of rewards after which half as many requests as at the start get a random version. By "
        "default, the share stays at `epsilon`.",
    )


BanditAlgorithm: TypeAlias = Annotated[
    BetaThompsonAlgorithm | GaussianThompsonAlgorithm | UCB1Algorithm | EpsilonGreedyAlgorithm,
    Field(discriminator="kind"),
]


class LinUCBAlgorithm(_Algorithm):
    """LinUCB: the version with the highest upper confidence bound for the request's features."""

    kind: Literal["linucb"] = "linucb"
    exploration: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the uncertainty: higher values explore more, and 0 turns exploration off. If rewards "
        "have bounds, the weight is multiplied by `reward.high - reward.low`.",
    )


class LinearThompsonAlgorithm(_Algorithm):
    """Thompson sampling with a linear model of the rewards."""

    kind: Literal["linear_thompson"] = "linear_thompson"
    std: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of the rewards around the linear model; greater values explore more. By "
        "default, it is estimated from the rewards.",
    )


ContextualAlgorithm: TypeAlias = Annotated[LinUCBAlgorithm | LinearThompsonAlgorithm, Field(discriminator="kind")]
