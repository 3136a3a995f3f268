"""The strategies of a rollout, declared as data: how traffic is divided. `kind` selects the strategy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from airflow_provider_mlops.serving.rollouts.plan.algorithms import (
    BanditAlgorithm,
    BetaThompsonAlgorithm,
    ContextualAlgorithm,
    LinearThompsonAlgorithm,
)
from airflow_provider_mlops.serving.rollouts.plan.context_features import ContextFeature, NumberFeature
from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check

_MIN_PROPENSITY = Field(
    default=0.1,
    ge=0,
    le=0.1,
    description="Minimum probability with which each version is drawn. The rollout ends when one version is certain to "
    "be the best, which needs rewards of the others too: with a smaller value, fewer requests go to weaker versions, "
    "but the decision takes longer.",
)
_MAX_CONTEXT_SIZE = 64
"""The maximum number of encoded features; the statistics of a contextual bandit grow with its square."""


_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class _Strategy(BaseModel):
    model_config = _FROZEN

    def weights(self, step: int) -> tuple[float, ...] | None:
        """Return the shares of champion and candidate at a step; None if they follow from the rewards."""
        return None

    @property
    def step_count(self) -> int:
        """Number of steps."""
        return 1


class DirectStrategy(_Strategy):
    """A strategy that sends all traffic to the candidate at once. The champion stays in memory for a rollback."""

    kind: Literal["direct"] = "direct"

    @override
    def weights(self, step: int) -> tuple[float, ...] | None:
        return (0.0, 1.0)


class ShadowStrategy(_Strategy):
    """A strategy in which the candidate answers copies of the requests. Callers see only the champion's answers."""

    kind: Literal["shadow"] = "shadow"
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the requests that are also sent to the candidate as copies.",
    )
    max_waiting: int = Field(
        default=100,
        ge=1,
        description="Maximum number of copies that wait in a gateway. Further copies are dropped and counted.",
    )
    timeout_seconds: float = Field(
        default=10.0, gt=0, description="Time in seconds after which a copy without an answer counts as an error."
    )
    tolerance: float = Field(
        default=1e-6,
        ge=0,
        description="Maximum difference between two numbers that count as equal. The difference is relative to the "
        "champion's number, but absolute if that number is between -1 and 1. Classes agree only if they are equal.",
    )
    on_success: Literal["promote", "end"] = Field(
        default="promote",
        description="Action when the candidate has passed all gates. `promote`: make it the champion; `end`: keep "
        "the champion, so that the next task can roll out the candidate as a canary.",
    )

    @override
    def weights(self, step: int) -> tuple[float, ...] | None:
        return (1.0, 0.0)


class CanaryStrategy(_Strategy):
    """A strategy in which the candidate's share of the requests grows step by step."""

    kind: Literal["canary"] = "canary"
    steps: tuple[float, ...] = Field(
        default=(0.05, 0.25, 0.5, 1.0),
        min_length=1,
        max_length=20,
        description="Candidate's share of the requests at each step, increasing. The candidate must pass all gates "
        "before each next step, and is promoted after the last one.",
    )

    @model_validator(mode="after")
    def _increasing(self) -> Self:
        check(self, _CANARY_RULES)
        return self

    @override
    def weights(self, step: int) -> tuple[float, ...] | None:
        share = self.steps[step]
        return (1 - share, share)

    @property
    @override
    def step_count(self) -> int:
        return len(self.steps)


class AbStrategy(_Strategy):
    """A strategy with a fixed, sticky split that a business metric decides: an A/B test."""

    kind: Literal["ab"] = "ab"
    candidate_share: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Share of the keys, such as users, that are assigned to the candidate; see `sticky`.",
    )
    min_effect: float | None = Field(
        default=None,
        gt=0,
        description="Smallest improvement of the mean reward that is worth detecting. The sample size is computed "
        "from this value, `power`, the margin of the metric gate, and either `baseline` or `std`.",
    )
    baseline: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Your estimate of the champion's success rate: the share of its rewards that have the higher of "
        "the two values. Make the estimate before the test. Only for rewards with two values (`binary` or source "
        "`correct`).",
    )
    std: float | None = Field(
        default=None,
        gt=0,
        description="Your estimate of the standard deviation of the rewards, made before the test. Use it instead of "
        "`baseline` if rewards can have more than two values. If they have bounds, also set the reward's "
        "`expected_mean`.",
    )
    power: float = Field(
        default=0.8,
        gt=0.5,
        lt=1,
        description="Probability with which a candidate that is better by `min_effect` should pass the gate.",
    )
    sample_size: int | None = Field(
        default=None,
        ge=2,
        description="Number of rewards of the candidate after which the test ends even without a decision. Defaults "
        "to the number that `min_effect` requires. If `min_effect` is not set either, the test runs until it decides. "
        "If rewards have no bounds, a decision requires rewards of at least 30 requests or users of each version.",
    )

    @model_validator(mode="after")
    def _plannable(self) -> Self:
        check(self, _AB_RULES)
        return self

    @property
    def needs_sample_size(self) -> bool:
        """Whether the sample size follows from `min_effect`."""
        return self.min_effect is not None and self.sample_size is None

    @override
    def weights(self, step: int) -> tuple[float, ...] | None:
        return (1 - self.candidate_share, self.candidate_share)


class BanditStrategy(_Strategy):
    """A strategy in which versions with higher rewards get more requests.

    The rollout ends when the mean reward of one version is certain to be higher than that of all others, at the
    `false_alarm_rate` of the rollout.
    """

    kind: Literal["bandit"] = "bandit"
    algorithm: BanditAlgorithm = Field(
        default=BetaThompsonAlgorithm(),
        description="Algorithm that uses the rewards to set the probability of each version.",
    )
    min_propensity: float = _MIN_PROPENSITY


class ContextualStrategy(_Strategy):
    """A strategy in which the version with the highest reward for similar requests gets the request.

    The rollout ends when one version is certain to earn more than all others if it answered all requests, at the
    `false_alarm_rate` of the rollout: one version answers all of them afterwards.
    """

    kind: Literal["contextual_bandit"] = "contextual_bandit"
    algorithm: ContextualAlgorithm = Field(
        default=LinearThompsonAlgorithm(),
        description="Algorithm that uses the rewards and the features of a request to set the probability of each "
        "version.",
    )
    features: tuple[ContextFeature, ...] = Field(
        min_length=1, max_length=30, description="Features of a request that the reward may depend on."
    )
    l2_regularization: float = Field(
        default=1.0,
        gt=0,
        description="L2 regularization strength; keeps the model well defined while rewards are few.",
    )
    min_propensity: float = _MIN_PROPENSITY

    @model_validator(mode="after")
    def _encodable(self) -> Self:
        check(self, _CONTEXT_RULES)
        return self

    @property
    def context_size(self) -> int:
        """Number of encoded features: one constant, one per number, and one more than its values per category."""
        return 1 + sum(
            1 if isinstance(feature, NumberFeature) else len(feature.values) + 1 for feature in self.features
        )


_CANARY_RULES: tuple[Rule[CanaryStrategy], ...] = (
    Rule(
        lambda strategy: (
            not all(0 < share <= 1 for share in strategy.steps) or list(strategy.steps) != sorted(set(strategy.steps))
        ),
        "steps",
        "steps must be increasing shares, each greater than 0 and at most 1. For example (0.05, 0.25, 1.0)",
    ),
)

_AB_RULES: tuple[Rule[AbStrategy], ...] = (
    Rule(
        lambda strategy: strategy.needs_sample_size and (strategy.baseline is None) == (strategy.std is None),
        "min_effect",
        "min_effect needs either baseline (rewards with two values) or std (other rewards). Give one of them, or give "
        "sample_size instead",
    ),
)

_CONTEXT_RULES: tuple[Rule[ContextualStrategy], ...] = (
    Rule(
        lambda strategy: len({feature.name for feature in strategy.features}) != len(strategy.features),
        "features",
        "features must have different names. Rename the duplicates",
    ),
    Rule(
        lambda strategy: strategy.context_size > _MAX_CONTEXT_SIZE,
        "features",
        lambda strategy: (
            f"the encoded features have {strategy.context_size} values and may have at most {_MAX_CONTEXT_SIZE}. "
            "Declare fewer features or categories"
        ),
    ),
)

Strategy: TypeAlias = Annotated[
    DirectStrategy | ShadowStrategy | CanaryStrategy | AbStrategy | BanditStrategy | ContextualStrategy,
    Field(discriminator="kind"),
]
