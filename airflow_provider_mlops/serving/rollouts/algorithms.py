"""How a bandit turns rewards into probabilities of the versions: one small JSON object, told apart by its `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class _Algorithm(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class BetaThompsonAlgorithm(_Algorithm):
    """Thompson sampling for rewards between 0 and 1."""

    kind: Literal["thompson_beta"] = "thompson_beta"
    prior_successes: float = Field(default=1.0, gt=0, description="Successes that each version starts with.")
    prior_failures: float = Field(default=1.0, gt=0, description="Failures that each version starts with.")


class GaussianThompsonAlgorithm(_Algorithm):
    """Thompson sampling for rewards of any size."""

    kind: Literal["thompson_gaussian"] = "thompson_gaussian"
    prior_mean: float = Field(default=0.0, description="What each version is thought to be worth before any reward.")
    prior_count: float = Field(default=0.01, gt=0, description="How many rewards that counts as.")
    prior_std: float | None = Field(
        default=None,
        gt=0,
        description="A guess of the standard deviation of the rewards, of its right size. By default what lies between "
        "the bounds of the reward, and 1 where it has none.",
    )


class UCB1Algorithm(_Algorithm):
    """UCB1: the version that could be the best."""

    kind: Literal["ucb1"] = "ucb1"
    width: float | None = Field(
        default=None,
        gt=0,
        description="Of the range of the rewards; a smaller one explores less. By default what lies between the bounds "
        "of the reward, and 1 where it has none.",
    )


class EpsilonGreedyAlgorithm(_Algorithm):
    """The best version so far, and now and then any."""

    kind: Literal["epsilon_greedy"] = "epsilon_greedy"
    epsilon: float = Field(default=0.1, ge=0, le=1, description="The share of requests that are drawn at random.")
    decay: float | None = Field(default=None, gt=0, description="Rewards after which half as much is explored.")


BanditAlgorithm: TypeAlias = Annotated[
    BetaThompsonAlgorithm | GaussianThompsonAlgorithm | UCB1Algorithm | EpsilonGreedyAlgorithm,
    Field(discriminator="kind"),
]


class LinUCBAlgorithm(_Algorithm):
    """LinUCB: the version that could be the best for this request."""

    kind: Literal["linucb"] = "linucb"
    exploration: float = Field(
        default=1.0,
        ge=0,
        description="How much an uncertain version is preferred: times what lies between the bounds of the reward, or "
        "in its units where it has none.",
    )


class LinearThompsonAlgorithm(_Algorithm):
    """Thompson sampling with a linear model of the rewards."""

    kind: Literal["linear_thompson"] = "linear_thompson"
    std: float | None = Field(
        default=None,
        gt=0,
        description="The standard deviation of rewards around the model; a greater one explores more. By default what "
        "lies between the bounds of the reward, and 1 where it has none.",
    )


ContextualAlgorithm: TypeAlias = Annotated[LinUCBAlgorithm | LinearThompsonAlgorithm, Field(discriminator="kind")]
