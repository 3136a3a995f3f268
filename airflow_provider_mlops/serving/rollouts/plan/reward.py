"""The reward of a rollout: a number for each answer that says how good the answer was, computed from the feedback."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check

MAX_REWARD = 1e100
"""The largest absolute value of a reward; the squares of all rewards must add up to a finite number."""


class Reward(BaseModel):
    """How the feedback for an answer becomes a number.

    Examples
    --------
    >>> Reward(low=0, high=50).clip(80)
    50.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: Literal["reward", "label", "correct"] = Field(
        default="reward",
        description="Feedback that the reward is computed from. `reward`: the number sent as the reward; `label`: the "
        "label, read as a number; `correct`: 1 if the label equals the prediction, and 0 otherwise.",
    )
    low: float | None = Field(
        default=0.0,
        ge=-MAX_REWARD,
        description="Smallest possible reward; null if rewards have no bounds. Smaller rewards count as `low`.",
    )
    high: float | None = Field(
        default=1.0,
        le=MAX_REWARD,
        description="Largest possible reward; null if rewards have no bounds. Larger rewards count as `high`.",
    )
    expected_mean: float | None = Field(
        default=None,
        description="Your estimate of the mean reward, made before the rollout. Tests of bounded rewards decide sooner "
        "if it is close to the true mean. Defaults to the midpoint of `low` and `high`.",
    )
    binary: bool = Field(default=False, description="Whether every reward is either `low` or `high`.")
    greater_is_better: bool = Field(default=True, description="Whether greater rewards are better. False for costs.")

    window: timedelta = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=366),
        description="Time for which an answer waits for its reward; later rewards do not count. The rollout store "
        "keeps a small row for each request until its reward arrives or this time is over.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check(self, _RULES)
        return self

    @property
    def is_binary(self) -> bool:
        """Whether a reward has only two possible values."""
        return self.binary or self.source == "correct"

    @property
    def range_width(self) -> float:
        """Difference between `high` and `low`; 1 if rewards have no bounds."""
        return 1.0 if self.low is None or self.high is None else self.high - self.low

    @property
    def mirror(self) -> float | None:
        """Number to subtract costs from so that greater is better; None if greater is better already.

        >>> Reward().mirror, Reward(greater_is_better=False).mirror
        (None, 1.0)
        """
        return None if self.greater_is_better else (self.low or 0.0) + (self.high or 0.0)

    def clip(self, value: float) -> float | None:
        """Return the value within the bounds, or the nearer bound for binary rewards; None if it is not a reward.

        >>> Reward().clip(1.5), Reward(binary=True).clip(0.4), Reward().clip(float("nan"))
        (1.0, 0.0, None)
        >>> Reward(low=None, high=None).clip(1e200)
        """
        if not math.isfinite(value):
            return None
        if self.low is None or self.high is None:
            return value if abs(value) <= MAX_REWARD else None
        if self.is_binary:
            return self.high if value >= (self.low + self.high) / 2 else self.low
        return min(self.high, max(self.low, value))


def _expects_the_impossible(reward: Reward) -> bool:
    if reward.expected_mean is None or reward.low is None or reward.high is None:
        return False
    return not reward.low <= reward.expected_mean <= reward.high


_RULES: tuple[Rule[Reward], ...] = (
    Rule(
        lambda reward: reward.low is None and reward.high is not None,
        "low",
        "low and high must be given together. Set low, or set high=None for rewards without bounds",
    ),
    Rule(
        lambda reward: reward.high is None and reward.low is not None,
        "high",
        "low and high must be given together. Set high, or set low=None for rewards without bounds",
    ),
    Rule(
        lambda reward: reward.low is not None and reward.high is not None and reward.low >= reward.high,
        "low",
        "low must be less than high. Swap them if the order is wrong",
    ),
    Rule(
        _expects_the_impossible,
        "expected_mean",
        "expected_mean must be between low and high. Set it to your estimate of the mean reward",
    ),
    Rule(
        lambda reward: reward.binary and reward.low is None,
        "binary",
        "binary rewards need low and high. Set them to the two values that a reward can have",
    ),
    Rule(
        lambda reward: reward.source == "correct" and (reward.low, reward.high) != (0.0, 1.0),
        "source",
        "with source='correct' a reward is 0 or 1. Remove low and high",
    ),
)
