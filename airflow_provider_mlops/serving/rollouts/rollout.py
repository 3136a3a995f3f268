"""A rollout: what it should do (its plan) and its progress (its state), stored as JSON in the rollout store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.policy.policy import CANDIDATE, CHAMPION, COHORT, SHADOW, Arm
from airflow_provider_mlops.serving.rollouts.plan.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check
from airflow_provider_mlops.serving.rollouts.plan.strategies import ShadowStrategy

Status: TypeAlias = Literal["running", "held", "promoted", "rolled_back", "ended"]

IN_PROGRESS: tuple[Status, ...] = ("running", "held")


class RolloutPlan(RolloutConfig):
    """The configuration of a rollout together with its versions.

    Examples
    --------
    >>> plan = RolloutPlan(champion=1, candidates=(2,), strategy={"kind": "canary", "steps": (0.1, 1.0)})
    >>> step_weights(plan, 0)
    {'champion': 0.9, 'candidate': 0.1}
    """

    champion: int = Field(ge=1, description="Version that answers all requests when the rollout starts.")
    candidates: tuple[int, ...] = Field(
        min_length=1,
        max_length=7,
        description="Versions to try. Only bandits take more than one.",
    )

    @model_validator(mode="after")
    def _different_versions(self) -> Self:
        check(self, _PLAN_RULES)
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms of the rollout: the champion first, then the candidates.

        >>> [arm.name for arm in RolloutPlan(champion=1, candidates=(2,)).arms]
        ['champion', 'candidate']
        """
        name = SHADOW if isinstance(self.strategy, ShadowStrategy) else CANDIDATE
        if len(self.candidates) == 1:
            return (Arm(CHAMPION, self.champion), Arm(name, self.candidates[0]))
        return (Arm(CHAMPION, self.champion), *(Arm(f"{name}_{version}", version) for version in self.candidates))

    @property
    def cohort_arm(self) -> Arm | None:
        """Arm of the cohort's requests, which get the candidate; None if there is no cohort."""
        return None if self.cohort is None else Arm(COHORT, self.candidates[0])

    @property
    def all_arms(self) -> tuple[Arm, ...]:
        """Arms between which requests are divided at random, and the cohort's if there is one."""
        return self.arms if self.cohort_arm is None else (*self.arms, self.cohort_arm)

    @property
    def step_count(self) -> int:
        """Number of steps, including the cohort's.

        >>> RolloutPlan(champion=1, candidates=(2,), cohort={"name": "X-Group", "values": ["staff"]}).step_count
        5
        """
        return self.strategy.step_count + (self.cohort is not None)

    def is_cohort_step(self, step: int) -> bool:
        """Return whether only the cohort takes part in a step: the first one, if there is a cohort."""
        return self.cohort is not None and step == 0

    @property
    def gate_confidence(self) -> float:
        """Confidence level of each test: the false alarm rate is divided between all gates and candidates.

        The winner of a bandit is found by one more test for each candidate.

        >>> from airflow_provider_mlops.serving.rollouts.plan.gates import ErrorRateGate, LatencyGate
        >>> RolloutPlan(champion=1, candidates=(2,), gates=(ErrorRateGate(), LatencyGate())).gate_confidence
        0.975
        """
        of_cohort = 0 if self.cohort is None else len(self.cohort.gates)
        tests = (len(self.gates) + self.learns) * len(self.candidates) + of_cohort
        return 1 - self.false_alarm_rate / max(1, tests)


_PLAN_RULES: tuple[Rule[RolloutPlan], ...] = (
    Rule(
        lambda plan: len(set(plan.candidates)) != len(plan.candidates) or plan.champion in plan.candidates,
        "candidates",
        "candidates must differ from each other and from the champion. Remove the duplicates",
    ),
    Rule(
        lambda plan: len(plan.candidates) > 1 and not plan.learns,
        "candidates",
        lambda plan: (
            f"the {plan.strategy.kind} strategy takes one candidate. Give one, or use the strategy bandit or "
            "contextual_bandit"
        ),
    ),
)


class RolloutState(BaseModel):
    """The progress of a rollout."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    status: Status = Field(
        description="Status of the rollout. `running`; `held`: waiting at the current weights for evidence or for an "
        "answer; `promoted`; `rolled_back`; `ended`: the rollout is over without a promotion or a rollback."
    )
    step: int = Field(ge=0, description="Number of the current step, starting at 0.")
    weights: dict[str, float] | None = Field(
        description="Share of the requests that each arm receives, except for those of a cohort; null if the shares "
        "depend on the rewards."
    )
    started_at: datetime = Field(description="Time at which the rollout started, in UTC.")
    step_started_at: datetime = Field(description="Time at which the current step started, in UTC.")
    changed_at: datetime = Field(description="Time of the last change, in UTC.")
    waiting_since: datetime = Field(
        description="Time from which `decision_timeout` counts, in UTC: the start of the step, or its last extension."
    )
    extensions: int = Field(default=0, ge=0, description="Number of extensions of the current step.")
    paused_at: datetime | None = Field(
        default=None,
        description="Time at which a person paused the rollout, in UTC; null if it is not paused. A paused rollout "
        "keeps its weights, and only hard limits and `unattended_timeout` can end it.",
    )
    approved: bool = Field(
        default=False, description="Whether a person approved the current step without conclusive evidence."
    )
    version: int | None = Field(
        default=None, description="Version that answers requests after the rollout; null until the rollout ends."
    )
    changed_by: str = Field(description="Author of the last change: a task, a gateway or a person.")
    reason: str = Field(description="Reason for the last change.")
    settled: bool = Field(
        default=False,
        description="Whether the audit trail and the champion alias are up to date after the end of the rollout.",
    )
    settled_in_try: int = Field(
        default=0,
        ge=0,
        description="Number of the task's try that did so, or that noticed that a person had done so; 0 until then.",
    )

    @property
    def is_in_progress(self) -> bool:
        """Whether the rollout is not over."""
        return self.status in IN_PROGRESS

    @property
    def status_text(self) -> str:
        """Status in words."""
        return "paused" if self.is_paused else self.status.replace("_", " ")

    @property
    def is_paused(self) -> bool:
        """Whether a person has paused the rollout."""
        return self.is_in_progress and self.paused_at is not None

    @property
    def blocks_new_rollout(self) -> bool:
        """Whether another rollout of the model must wait: until this one is over and a promotion is in the registry."""
        return self.is_in_progress or (self.status == "promoted" and not self.settled)


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is in the store.

    Parameters
    ----------
    started_by
        Task that started the rollout.
    revision
        Number of times the state has been written. A new state is written only if the revision has not changed.
    """

    id: str
    model: str
    started_by: TaskIdentity
    plan: RolloutPlan
    state: RolloutState
    revision: int


def step_text(plan: RolloutPlan, step: int) -> str:
    """Return a step in words, with the share of the requests that candidates get.

    >>> step_text(RolloutPlan(champion=1, candidates=(2,)), 1)
    'step 2 of 4 (candidate gets 25% of the requests)'
    >>> plan = RolloutPlan(champion=1, candidates=(2,), cohort={"name": "X-Group", "values": ["staff"]})
    >>> step_text(plan, 0)
    "step 1 of 5 (candidate gets only the cohort: the header 'X-Group' is 'staff')"
    >>> step_text(plan, 1)
    'step 2 of 5 (candidate gets the cohort and 5% of the other requests)'
    """
    text = f"step {step + 1} of {plan.step_count}"
    if plan.cohort is not None and plan.is_cohort_step(step):
        return f"{text} (candidate gets only the cohort: {plan.cohort.text})"
    weights = step_weights(plan, step) or {}
    cohort, requests = ("", "requests") if plan.cohort is None else ("the cohort and ", "other requests")
    shares = [f"{arm} gets {cohort}{100 * share:.4g}%" for arm, share in weights.items() if arm != CHAMPION and share]
    return f"{text} ({' and '.join(shares)} of the {requests})" if shares else text


def step_weights(plan: RolloutPlan, step: int) -> dict[str, float] | None:
    """Return the weights of a step by arm, without the cohort's requests; None if they follow from the rewards.

    >>> step_weights(RolloutPlan(champion=1, candidates=(2,)), 1)
    {'champion': 0.75, 'candidate': 0.25}
    """
    if plan.is_cohort_step(step):
        return all_weight_to(plan, plan.champion)
    weights = plan.strategy.weights(step - (plan.cohort is not None))
    return None if weights is None else {arm.name: share for arm, share in zip(plan.arms, weights, strict=True)}


def all_weight_to(plan: RolloutPlan, version: int) -> dict[str, float]:
    """Return the weights that send all traffic to one version of the rollout."""
    return {arm.name: float(arm.version == version) for arm in plan.arms}
