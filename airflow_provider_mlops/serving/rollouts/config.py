"""The terms of a rollout, whichever the versions: how traffic is shared out, what is judged, and when."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.serving.rollouts.gates import AgreementGate, DriftGate, ErrorRateGate, Gate, MetricGate
from airflow_provider_mlops.serving.rollouts.strategies import (
    AbStrategy,
    BanditStrategy,
    CanaryStrategy,
    ContextualStrategy,
    Strategy,
)

LARGEST_REWARD = 1e100
"""In size: the squares of all rewards are summed up."""

OnInconclusive: TypeAlias = Literal["hold", "extend", "ask", "roll_back"]


class StickyKey(BaseModel):
    """Who asks, so that the same one always gets the same version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["header", "field"] = Field(
        default="header", description="`header`: a header of the request; `field`: a column of its first row."
    )
    name: str = Field(default="X-User-Id", min_length=1, description="The name of the header or the column.")


class HardLimits(BaseModel):
    """What each gateway enforces by itself, within a second, between two looks of the DAG."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    error_rate: float = Field(
        default=0.5, gt=0, le=1, description="The share of the candidate's requests that may fail within the window."
    )
    min_requests: int = Field(
        default=20, ge=1, description="With fewer requests of the candidate within the window nothing is enforced."
    )
    window_seconds: int = Field(default=60, ge=2, le=3600, description="How far back a gateway looks.")


class Reward(BaseModel):
    """What a good answer is, from the feedback that comes for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: Literal["reward", "label", "correct"] = Field(
        default="reward",
        description="`reward`: the number that was sent as the reward; `label`: the label, read as a number; "
        "`correct`: 1 if the label is what the version answered, and 0 if not.",
    )
    low: float | None = Field(
        default=0.0,
        ge=-LARGEST_REWARD,
        description="The least that a reward can be; null where there is no bound. Rewards beyond the bounds count as "
        "the bound.",
    )
    high: float | None = Field(
        default=1.0,
        le=LARGEST_REWARD,
        description="The most that a reward can be; null where there is no bound.",
    )
    expected: float | None = Field(
        default=None,
        description="About what the mean is, as it is known before: the nearer it is to the truth, the sooner rewards "
        "with bounds tell. By default the middle of the bounds.",
    )
    binary: bool = Field(default=False, description="Whether every reward is either `low` or `high`.")
    greater_is_better: bool = Field(default=True, description="Whether a greater reward is a better one.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("low must be below high")
        if self.expected is not None and not (self.low is None or self.low <= self.expected <= (self.high or 0.0)):
            raise ValueError("expected must lie between low and high")
        if self.binary and self.low is None:
            raise ValueError("binary rewards need low and high")
        if self.source == "correct" and (self.low, self.high) != (0.0, 1.0):
            raise ValueError("a reward of source correct is 0 or 1")
        return self

    @property
    def is_binary(self) -> bool:
        """Whether there are two values only."""
        return self.binary or self.source == "correct"

    @property
    def reach(self) -> float:
        """How far its bounds are apart, 1 without bounds: of what size rewards are."""
        return 1.0 if self.low is None or self.high is None else self.high - self.low

    @property
    def mirror(self) -> float | None:
        """What a cost is taken from to make more of it better; None where more is better already.

        >>> Reward().mirror, Reward(greater_is_better=False).mirror
        (None, 1.0)
        """
        return None if self.greater_is_better else (self.low or 0.0) + (self.high or 0.0)

    def bounded(self, value: float) -> float | None:
        """A value within the bounds, and of two values only where the rewards are binary; None if it is no reward.

        >>> Reward().bounded(1.5), Reward(binary=True).bounded(0.4), Reward().bounded(float("nan"))
        (1.0, 0.0, None)
        >>> Reward(low=None, high=None).bounded(1e200)
        """
        if not math.isfinite(value):
            return None
        if self.low is None or self.high is None:
            return value if abs(value) <= LARGEST_REWARD else None
        if self.is_binary:
            return self.high if value >= (self.low + self.high) / 2 else self.low
        return min(self.high, max(self.low, value))


class RolloutConfig(BaseModel):
    """What a rollout is asked to do, whichever the versions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: Strategy = Field(default=CanaryStrategy(), description="How the traffic is shared out.")
    gates: tuple[Gate, ...] = Field(
        default=(ErrorRateGate(),),
        description="What the candidate must not be worse in. Each is better, worse or inconclusive; the candidate "
        "goes on when all are better, and is rolled back as soon as one is worse.",
    )
    false_alarm_rate: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="The chance of a wrong decision at any time of the rollout, however often it is looked at. It is "
        "shared out evenly over gates and candidates.",
    )
    expected_requests: int = Field(
        default=1000,
        ge=10,
        description="About how many requests of the candidate the decision will take: the tests are tightest there, "
        "and valid anywhere.",
    )
    bake_time: timedelta = Field(
        default=timedelta(minutes=10), ge=timedelta(0), description="How long each step lasts at least."
    )
    min_requests: int = Field(
        default=100,
        ge=0,
        description="How many requests the candidate must have had in each step at least; "
        "of several, the one that is to be promoted.",
    )
    decision_timeout: timedelta = Field(
        default=timedelta(days=1),
        gt=timedelta(0),
        description="How long a step waits for enough requests and for gates that are inconclusive. Then "
        "`on_inconclusive` says what happens.",
    )
    on_inconclusive: OnInconclusive = Field(
        default="hold",
        description="`hold`: the weights stay, and the rollout goes on once the evidence is there; `extend`: the step "
        "gets `decision_timeout` once more, up to `max_extensions` times, and is rolled back then; `ask`: a human "
        "decides; `roll_back`: the champion gets all traffic again.",
    )
    max_extensions: int = Field(default=3, ge=1, description="How often a step is extended at most.")
    hard_limits: HardLimits | None = Field(
        default=HardLimits(), description="What the gateways enforce at once; null for nothing."
    )
    reward: Reward | None = Field(
        default=None, description="What a good answer is. Bandits, A/B tests and metric gates need it."
    )
    sticky: StickyKey | None = Field(
        default=None,
        description="By what a canary or an A/B test is sticky; null draws each request anew. Requests without the key "
        "are drawn, too.",
    )

    @field_validator("strategy", mode="before")
    @classmethod
    def _strategy_by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("gates", mode="before")
    @classmethod
    def _gates_by_name(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"kind": gate} if isinstance(gate, str) else gate for gate in value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = self.strategy.kind
        metric = bool(self.metric_gates)
        if self.reward is None and (self.learns or metric or kind == "ab"):
            raise FieldError("reward", f"the strategy {kind} or the gate metric needs a reward")
        if kind == "ab" and not metric:
            raise FieldError("gates", "an A/B test is decided by a metric: add a gate of kind metric")
        if metric and kind in ("shadow", "direct"):
            raise FieldError(
                "gates", f"nobody but one version is seen in {kind}: its reward cannot be compared, drop the metric"
            )
        if kind != "shadow" and any(isinstance(gate, AgreementGate) for gate in self.gates):
            raise FieldError(
                "gates", "only a shadow answers the same requests as the champion: drop the gate agreement"
            )
        if kind == "direct" and any(
            isinstance(gate, DriftGate) or getattr(gate, "max_rate", getattr(gate, "max_ms", None)) is None
            for gate in self.gates
        ):
            raise FieldError("gates", "direct leaves no traffic to compare with: give the gates fixed limits")
        if isinstance(self.strategy, BanditStrategy) and self.strategy.algorithm.kind == "thompson_beta":
            assert self.reward is not None
            if (self.reward.low, self.reward.high) != (0.0, 1.0):
                raise FieldError("reward", "thompson_beta needs rewards from 0 to 1; use thompson_gaussian")
        if isinstance(self.strategy, AbStrategy):
            assert self.reward is not None
            _see_that_it_can_be_planned(self.strategy, self.reward, self.metric_gates)
        if sum(isinstance(gate, DriftGate) for gate in self.gates) > 1:
            raise FieldError("gates", "declare one gate drift: outputs are counted in one set of cells")
        if self.sticky is not None and kind not in ("canary", "ab"):
            raise FieldError("sticky", "only canary and ab are sticky: drop it")
        if self.decision_timeout < self.bake_time:
            raise FieldError("decision_timeout", "decision_timeout must not be shorter than bake_time")
        return self

    @property
    def learns(self) -> bool:
        """Whether the shares follow from the rewards."""
        return isinstance(self.strategy, BanditStrategy | ContextualStrategy)

    @property
    def metric_gates(self) -> tuple[MetricGate, ...]:
        """The gates that judge the reward."""
        return tuple(gate for gate in self.gates if isinstance(gate, MetricGate))

    @property
    def drift_gate(self) -> DriftGate | None:
        """The gate that says in which cells outputs are counted."""
        return next((gate for gate in self.gates if isinstance(gate, DriftGate)), None)


def _see_that_it_can_be_planned(strategy: AbStrategy, reward: Reward, gates: tuple[MetricGate, ...]) -> None:
    """Raise FieldError where the number of rewards of an A/B test cannot be worked out before it begins."""
    effect = strategy.min_effect
    if effect is None or strategy.planned_rewards is not None:
        return
    if any(gate.room(effect) <= 0 for gate in gates):
        raise FieldError(
            "strategy", "min_effect must exceed the margin of the gate metric: what is worth finding must pass it"
        )
    if strategy.baseline is None:
        if reward.low is not None and reward.expected is None and not reward.is_binary:
            raise FieldError(
                "reward",
                "min_effect with rewards within bounds: give expected in the reward, about what their mean is",
            )
        return
    if not reward.is_binary:
        raise FieldError(
            "reward", "baseline is for rewards of two values: say binary in the reward, or give std instead"
        )
    if not 0 <= strategy.baseline + (effect if reward.greater_is_better else -effect) / reward.reach <= 1:
        raise FieldError("strategy", "baseline and min_effect must not lead beyond 0 or 1 together")
