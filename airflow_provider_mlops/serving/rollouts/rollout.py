"""A rollout: what is asked for (its plan) and where it stands (its state), as JSON in the rollout store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.serving.policy.policy import CANDIDATE, CHAMPION, SHADOW, Arm
from airflow_provider_mlops.serving.rollouts.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.strategies import ShadowStrategy

Status: TypeAlias = Literal["running", "held", "promoted", "rolled_back", "ended"]

UNDER_WAY: tuple[Status, ...] = ("running", "held")


class RolloutPlan(RolloutConfig):
    """What a rollout is asked to do, and with which versions."""

    champion: int = Field(ge=1, description="The version that answers when the rollout begins.")
    candidates: tuple[int, ...] = Field(
        min_length=1,
        max_length=7,
        description="The versions that are tried. More than one only for bandits.",
    )

    @model_validator(mode="after")
    def _different_versions(self) -> Self:
        if len(set(self.candidates)) != len(self.candidates) or self.champion in self.candidates:
            raise FieldError(
                "candidates", "candidates must be versions that differ from each other and from the champion"
            )
        if len(self.candidates) > 1 and not self.learns:
            raise FieldError("candidates", f"the strategy {self.strategy.kind} takes one candidate; bandits take more")
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The champion, and then the candidates.

        >>> [arm.name for arm in RolloutPlan(champion=1, candidates=(2,)).arms]
        ['champion', 'candidate']
        """
        name = SHADOW if isinstance(self.strategy, ShadowStrategy) else CANDIDATE
        if len(self.candidates) == 1:
            return (Arm(CHAMPION, self.champion), Arm(name, self.candidates[0]))
        return (Arm(CHAMPION, self.champion), *(Arm(f"{name}_{version}", version) for version in self.candidates))

    @property
    def gate_confidence(self) -> float:
        """Return the confidence of each gate's test: all gates and candidates share one false alarm rate.

        >>> from airflow_provider_mlops.serving.rollouts.gates import ErrorRateGate, LatencyGate
        >>> RolloutPlan(champion=1, candidates=(2,), gates=(ErrorRateGate(), LatencyGate())).gate_confidence
        0.975
        """
        return 1 - self.false_alarm_rate / max(1, len(self.gates) * len(self.candidates))


class RolloutState(BaseModel):
    """Where a rollout stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    status: Status = Field(
        description="`running`; `held`, where it waits for evidence or for a human at its present weights; `promoted`, "
        "`rolled_back`, or `ended`, where the champion stays and nothing was held against the candidate."
    )
    step: int = Field(ge=0, description="The step, from 0.")
    weights: dict[str, float] | None = Field(
        description="The share of each arm; null where it follows from the rewards."
    )
    started_at: datetime = Field(description="When the rollout began, in UTC.")
    step_started_at: datetime = Field(description="When the step began, in UTC.")
    changed_at: datetime = Field(description="When the state last changed, in UTC.")
    extensions: int = Field(default=0, ge=0, description="How often the step has been extended.")
    approved: bool = Field(default=False, description="Whether a human let the step go on without clear evidence.")
    version: int | None = Field(default=None, description="Once it is over: the version that answers from then on.")
    by: str = Field(description="Who made it so: a task, a gateway or a human.")
    reason: str = Field(description="Why, in plain words.")
    settled: bool = Field(
        default=False,
        description="Whether the task has taken over the end: the champion alias stands where it should.",
    )
    settled_in_try: int = Field(default=0, ge=0, description="The try of the task that did so; 0 while none has.")

    @property
    def is_under_way(self) -> bool:
        """Whether the rollout is not over."""
        return self.status in UNDER_WAY

    @property
    def blocks_new_rollout(self) -> bool:
        """Whether another rollout of the model has to wait: also until the alias stands at a promoted version."""
        return self.is_under_way or (self.status == "promoted" and not self.settled)


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is in the store.

    :ivar number: how often its state has been written; compare-and-set goes by it.
    """

    id: str
    model: str
    by: TaskIdentity
    plan: RolloutPlan
    state: RolloutState
    number: int


def share_out(plan: RolloutPlan, step: int) -> dict[str, float] | None:
    """The weights of a step by arm.

    >>> share_out(RolloutPlan(champion=1, candidates=(2,)), 1)
    {'champion': 0.75, 'candidate': 0.25}
    """
    weights = plan.strategy.weights(step)
    return None if weights is None else {arm.name: share for arm, share in zip(plan.arms, weights, strict=True)}


def all_to(plan: RolloutPlan, version: int) -> dict[str, float]:
    """The weights that give all traffic to one version of the rollout."""
    return {arm.name: float(arm.version == version) for arm in plan.arms}
