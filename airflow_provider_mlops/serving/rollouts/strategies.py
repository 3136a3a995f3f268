"""How a rollout shares out the traffic: one small JSON object, told apart by its `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.serving.rollouts.algorithms import (
    BanditAlgorithm,
    BetaThompsonAlgorithm,
    ContextualAlgorithm,
    LinearThompsonAlgorithm,
)

_MINIMUM_PROPENSITY = Field(
    default=0.01,
    ge=0,
    le=0.1,
    description="The least probability with which any version is drawn, so that a loser can still show that it has "
    "become better, and the log stays good for estimates of what another policy would have earned.",
)
_PROBABILITY_LIMIT = Field(
    default=0.99,
    gt=0.5,
    lt=1,
    description="The rollout ends when the probability that one version is the best one passes this limit. It is a "
    "probability given the rewards and the prior, not a bound on false alarms over repeated looks.",
)


_MOST_SLOTS = 64
"""What a contextual bandit remembers grows with the square of it."""


class _Strategy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def weights(self, step: int) -> tuple[float, ...] | None:
        """The shares of champion and candidate at a step; None where they follow from the rewards."""
        return None

    @property
    def steps_count(self) -> int:
        """How many steps there are."""
        return 1


class DirectStrategy(_Strategy):
    """All traffic at once; the old version is kept warm."""

    kind: Literal["direct"] = "direct"

    def weights(self, step: int) -> tuple[float, ...] | None:
        """All to the candidate."""
        return (0.0, 1.0)


class ShadowStrategy(_Strategy):
    """The candidate answers copies of the requests, which no caller sees."""

    kind: Literal["shadow"] = "shadow"
    share: float = Field(default=1.0, gt=0, le=1, description="The share of the requests that are copied.")
    max_waiting: int = Field(
        default=100, ge=1, description="How many copies may wait in a gateway; those beyond are dropped and counted."
    )
    timeout_seconds: float = Field(
        default=10.0, gt=0, description="After how many seconds a copy without an answer counts as an error."
    )
    tolerance: float = Field(
        default=1e-6,
        ge=0,
        description="By how much two numbers may differ and still agree, relative to the champion's (and to one, where "
        "that is smaller). Classes agree if they are the same.",
    )
    on_success: Literal["promote", "end"] = Field(
        default="promote",
        description="What follows when all gates are passed: `promote` makes the candidate the champion, `end` leaves "
        "the champion, so that a next task can show the candidate to callers step by step.",
    )

    def weights(self, step: int) -> tuple[float, ...] | None:
        """All to the champion."""
        return (1.0, 0.0)


class CanaryStrategy(_Strategy):
    """The candidate's share grows step by step."""

    kind: Literal["canary"] = "canary"
    steps: tuple[float, ...] = Field(
        default=(0.05, 0.25, 0.5, 1.0),
        min_length=1,
        max_length=20,
        description="The candidate's share of the requests at each step, rising. Before each next one all gates must "
        "have been passed; after the last one the candidate is promoted.",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not all(0 < share <= 1 for share in self.steps) or list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must rise, above 0 and up to 1")
        return self

    def weights(self, step: int) -> tuple[float, ...] | None:
        """The step's share to the candidate."""
        share = self.steps[step]
        return (1 - share, share)

    @property
    def steps_count(self) -> int:
        """How many shares are declared."""
        return len(self.steps)


class AbStrategy(_Strategy):
    """A fixed split, sticky by a key, decided by a business metric."""

    kind: Literal["ab"] = "ab"
    candidate_share: float = Field(default=0.5, gt=0, lt=1, description="The candidate's share of the keys.")
    min_effect: float | None = Field(
        default=None,
        gt=0,
        description="The smallest improvement of the mean reward that is worth finding. The number of rewards that the "
        "test needs follows from it and the margin of the gate, `baseline` or `std`, and `power`.",
    )
    baseline: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="For rewards of two values (`binary`, or of source `correct`): which share of the champion's are "
        "the greater one, as it is known before.",
    )
    std: float | None = Field(
        default=None,
        gt=0,
        description="For other rewards: their standard deviation, as it is known before. Within bounds the number of "
        "rewards also depends on `expected`, about their mean.",
    )
    power: float = Field(
        default=0.8,
        gt=0.5,
        lt=1,
        description="The wanted chance that a candidate which is better by `min_effect` passes the gate.",
    )
    planned_rewards: int | None = Field(
        default=None,
        ge=2,
        description="How many rewards of the candidate the test ends at without a decision. By default it follows from "
        "`min_effect`; without either the test goes on until it decides. Rewards without bounds are judged from "
        "500 of each version on.",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        is_planned = self.min_effect is not None and self.planned_rewards is None
        if is_planned and (self.baseline is None) == (self.std is None):
            raise ValueError("min_effect needs either baseline or std, or give planned_rewards instead")
        return self

    def weights(self, step: int) -> tuple[float, ...] | None:
        """The fixed split."""
        return (1 - self.candidate_share, self.candidate_share)


class BanditStrategy(_Strategy):
    """The more a version earns, the more requests it gets."""

    kind: Literal["bandit"] = "bandit"
    algorithm: BanditAlgorithm = Field(
        default=BetaThompsonAlgorithm(), description="How rewards become probabilities of the versions."
    )
    min_propensity: float = _MINIMUM_PROPENSITY
    probability_limit: float = _PROBABILITY_LIMIT


class NumberFeature(BaseModel):
    """A number in the context of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    kind: Literal["number"] = "number"
    name: str = Field(min_length=1, description="Its name in the context.")
    source: Literal["field", "header", "hour"] = Field(
        default="field",
        description="`field`: the column of that name in the request's first row; `header`: the header of that name; "
        "`hour`: the hour of the day (UTC) at which the request came.",
    )
    centre: float = Field(default=0.0, description="What is subtracted; a request without the number counts as this.")
    scale: float = Field(default=1.0, gt=0, description="What the rest is divided by: about the standard deviation.")


class CategoryFeature(BaseModel):
    """A category in the context of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    kind: Literal["category"] = "category"
    name: str = Field(min_length=1, description="Its name in the context.")
    source: Literal["field", "header", "hour"] = Field(default="field", description="As for numbers.")
    values: tuple[str, ...] = Field(
        min_length=1,
        max_length=100,
        description="The values that are told apart, as text, such as `1` and `true`; all others count as one more.",
    )


ContextFeature: TypeAlias = Annotated[NumberFeature | CategoryFeature, Field(discriminator="kind")]


class ContextualStrategy(_Strategy):
    """The version that earns most for requests like this one."""

    kind: Literal["contextual_bandit"] = "contextual_bandit"
    algorithm: ContextualAlgorithm = Field(
        default=LinearThompsonAlgorithm(), description="How rewards and context become probabilities of the versions."
    )
    features: tuple[ContextFeature, ...] = Field(
        min_length=1, max_length=30, description="What of a request the rewards may depend on."
    )
    strength: float = Field(
        default=1.0, gt=0, description="Of the ridge that keeps the model defined while there are few rewards."
    )
    min_propensity: float = _MINIMUM_PROPENSITY
    probability_limit: float = Field(
        default=0.99,
        gt=0.5,
        lt=1,
        description="The rollout ends when the probability that one version is the best one for the average request "
        "passes this limit: only then can one version serve everybody.",
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"features must have different names, not {names}")
        slots = 1 + sum(1 if isinstance(part, NumberFeature) else len(part.values) + 1 for part in self.features)
        if slots > _MOST_SLOTS:
            raise ValueError(f"features may have {_MOST_SLOTS} slots together, a category one more than it has values")
        return self


Strategy: TypeAlias = Annotated[
    DirectStrategy | ShadowStrategy | CanaryStrategy | AbStrategy | BanditStrategy | ContextualStrategy,
    Field(discriminator="kind"),
]
