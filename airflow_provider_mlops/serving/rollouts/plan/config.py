"""The configuration of a rollout, independent of the versions: how traffic is divided, what is judged, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_mlops.serving.rollouts.plan.cohort import Cohort
from airflow_provider_mlops.serving.rollouts.plan.gates import (
    AgreementGate,
    DriftGate,
    ErrorRateGate,
    Gate,
    MetricGate,
    gates_by_name,
    is_relative,
)
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check
from airflow_provider_mlops.serving.rollouts.plan.strategies import (
    AbStrategy,
    BanditStrategy,
    CanaryStrategy,
    ContextualStrategy,
    Strategy,
)

OnInconclusive: TypeAlias = Literal["hold", "extend", "ask", "roll_back"]
OnCancel: TypeAlias = Literal["roll_back", "keep"]


class StickyKey(BaseModel):
    """The key of a request, such as a user id. Requests with the same key always get the same version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["header", "field"] = Field(
        default="header",
        description="Place of the key. `header`: a header of the request; `field`: a column of the request's first "
        "row.",
    )
    name: str = Field(default="X-User-Id", min_length=1, description="Name of the header or column.")


class HardLimits(BaseModel):
    """A limit that every gateway enforces on its own within a second, without waiting for the DAG."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    error_rate: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Limit for the candidate's error rate within the window. If this share of its requests fails, the "
        "candidate is rolled back, unless the champion's requests within the window fail about as often.",
    )
    min_requests: int = Field(
        default=20,
        ge=1,
        description="Minimum number of requests to the candidate within the window; with fewer, the limit does not "
        "apply.",
    )
    window_seconds: int = Field(default=60, ge=2, le=3600, description="Length of the sliding window in seconds.")


class RolloutConfig(BaseModel):
    """The fields of a rollout that do not depend on the versions.

    Examples
    --------
    >>> RolloutConfig(strategy="shadow", gates=["error_rate", "agreement"]).strategy.share
    1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: Strategy = Field(
        default=CanaryStrategy(),
        description="How requests are divided between the versions: the name of a strategy, or a dictionary with its "
        "`kind` and its fields.",
    )
    gates: tuple[Gate, ...] = Field(
        default=(ErrorRateGate(),),
        description="Checks that compare the candidate with the champion: names, or dictionaries with their `kind` "
        "and their fields. The rollout proceeds when the candidate passes all gates, and is rolled back as soon as "
        "it fails one.",
    )
    false_alarm_rate: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Maximum probability of a wrong decision by the gates at any time of the rollout, however often "
        "the evidence is checked. Each test of one gate for one candidate gets an equal part of it. The winner of a "
        "bandit is found by one more test for each candidate.",
    )
    expected_requests: int = Field(
        default=1000,
        ge=10,
        description="Estimated number of requests that the candidate must serve before a decision is possible. The "
        "tests are most sensitive at about this number, but they are valid for any number of requests.",
    )
    bake_time: timedelta = Field(
        default=timedelta(minutes=10), ge=timedelta(0), description="Minimum duration of each step."
    )
    min_requests: int = Field(
        default=100,
        ge=0,
        description="Minimum number of requests to the candidate in each step. With several candidates, the one to be "
        "promoted must reach it.",
    )
    decision_timeout: timedelta = Field(
        default=timedelta(days=1),
        gt=timedelta(0),
        description="Maximum time for a step to receive enough requests and pass its gates. After that, "
        "`on_inconclusive` decides.",
    )
    on_inconclusive: OnInconclusive = Field(
        default="hold",
        description="Behavior if a step is still inconclusive after `decision_timeout`. `hold`: keep the weights and "
        "wait for more evidence; `extend`: wait for another `decision_timeout`, up to `max_extensions` times, and then "
        "roll back; `ask`: ask a person in Airflow; `roll_back`: send all traffic to the champion.",
    )
    max_extensions: int = Field(default=3, ge=1, description="Maximum number of extensions of a step.")
    on_cancel: OnCancel = Field(
        default="roll_back",
        description="Behavior if the task is canceled, that is, marked as failed, successful or skipped, or deleted "
        "with its run or DAG. `roll_back`: send all traffic to the champion; `keep`: keep the weights, although no one "
        "checks the evidence until `unattended_timeout` has passed. A cleared or retried task is not canceled: it "
        "rejoins the rollout.",
    )
    unattended_timeout: timedelta | None = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        description="Maximum time without a check by the task, for example because its DAG is paused or its worker is "
        "gone. After that, the gateways roll the rollout back. Must be at least three times `check_interval`; null for "
        "no limit.",
    )
    hard_limits: HardLimits | None = Field(
        default=HardLimits(), description="Error limit that the gateways enforce immediately; null for no limit."
    )
    reward: Reward | None = Field(
        default=None,
        description="How feedback becomes a reward. Bandits, A/B tests and metric gates require it.",
    )
    sticky: StickyKey | None = Field(
        default=None,
        description="Key that keeps each user on one version in a canary or an A/B test. By default, and for requests "
        "without the key, every request is assigned at random.",
    )
    cohort: Cohort | None = Field(
        default=None,
        description="Requests that get the candidate before any random share, such as those of your own staff. They "
        "are the first step of a canary or an A/B test, and keep the candidate in the later steps.",
    )

    @field_validator("strategy", mode="before")
    @classmethod
    def _strategy_by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("gates", mode="before")
    @classmethod
    def _gates_by_name(cls, value: Any) -> Any:
        return gates_by_name(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check(self, _RULES)
        return self

    @property
    def weighs_rewards(self) -> bool:
        """Whether rewards are weighted by the inverse of the probability with which their version was drawn.

        The shares of a bandit follow from the rewards. If the mean rewards change with time, the rewards of a version
        are those of the times at which it had most requests, unless they are weighted. Without a minimum of the
        probability, weights could be of any size, and large rewards with large weights would decide.
        """
        strategy = self.strategy
        if isinstance(strategy, BanditStrategy):
            return strategy.min_propensity > 0 and self.reward is not None and self.reward.is_binary
        return isinstance(strategy, ContextualStrategy)

    @property
    def learns(self) -> bool:
        """Whether the weights follow from the rewards."""
        return isinstance(self.strategy, BanditStrategy | ContextualStrategy)

    @property
    def required_reward(self) -> Reward:
        """Reward of a rollout that cannot be without one: a bandit, an A/B test, or one with a metric gate."""
        if self.reward is None:
            raise ValueError(
                f"this rollout needs a reward (strategy {self.strategy.kind}), but none is set. Set reward"
            )
        return self.reward

    @property
    def metric_gates(self) -> tuple[MetricGate, ...]:
        """Gates that judge the reward."""
        return tuple(gate for gate in self.gates if isinstance(gate, MetricGate))

    @property
    def all_gates(self) -> tuple[Gate, ...]:
        """All gates, including the cohort's."""
        return self.gates if self.cohort is None else (*self.gates, *self.cohort.gates)

    @property
    def drift_gate(self) -> DriftGate | None:
        """Gate that defines the cells in which predictions are counted; None if there is none."""
        return next((gate for gate in self.gates if isinstance(gate, DriftGate)), None)


def _needs_reward(config: RolloutConfig) -> bool:
    return config.learns or bool(config.metric_gates) or config.strategy.kind == "ab"


def _beta_with_other_rewards(config: RolloutConfig) -> bool:
    strategy, reward = config.strategy, config.reward
    is_beta = isinstance(strategy, BanditStrategy) and strategy.algorithm.kind == "thompson_beta"
    return is_beta and reward is not None and (reward.low, reward.high) != (0.0, 1.0)


def _planned_test(config: RolloutConfig) -> AbStrategy | None:
    """Return the A/B test whose sample size follows from the smallest effect; None for other rollouts."""
    strategy = config.strategy
    return strategy if isinstance(strategy, AbStrategy) and strategy.needs_sample_size else None


def _effect_within_margin(config: RolloutConfig) -> bool:
    test = _planned_test(config)
    if test is None or test.min_effect is None:
        return False
    return any(gate.distance_to_margin(test.min_effect) <= 0 for gate in config.metric_gates)


def _lacks_expected_mean(config: RolloutConfig) -> bool:
    test, reward = _planned_test(config), config.reward
    if test is None or reward is None or test.baseline is not None:
        return False
    return reward.low is not None and reward.expected_mean is None and not reward.is_binary


def _baseline_without_binary(config: RolloutConfig) -> bool:
    test, reward = _planned_test(config), config.reward
    return test is not None and test.baseline is not None and reward is not None and not reward.is_binary


def _planned_rate(config: RolloutConfig) -> float | None:
    """Return the candidate's rate if it is better than the baseline by the smallest effect."""
    test, reward = _planned_test(config), config.reward
    if test is None or test.baseline is None or test.min_effect is None or reward is None:
        return None
    change = test.min_effect / reward.range_width
    return test.baseline + (change if reward.greater_is_better else -change)


def _effect_beyond_range(config: RolloutConfig) -> bool:
    rate = _planned_rate(config)
    return rate is not None and not 0 <= rate <= 1


_RULES: tuple[Rule[RolloutConfig], ...] = (
    Rule(
        lambda config: config.reward is None and _needs_reward(config),
        "reward",
        "bandits, A/B tests and metric gates need a reward. Set one, for example reward={'source': 'correct'}",
    ),
    Rule(
        lambda config: config.strategy.kind == "ab" and not config.metric_gates,
        "gates",
        "an A/B test is decided by a metric gate. Add one, for example {'kind': 'metric'}",
    ),
    Rule(
        lambda config: bool(config.metric_gates) and config.strategy.kind in ("shadow", "direct"),
        "gates",
        lambda config: (
            f"the {config.strategy.kind} strategy shows callers only one version, so a metric gate has nothing to "
            "compare. Remove the metric gate"
        ),
    ),
    Rule(
        lambda config: (
            config.strategy.kind != "shadow" and any(isinstance(gate, AgreementGate) for gate in config.gates)
        ),
        "gates",
        "an agreement gate needs both versions' answers to the same request, which only the shadow strategy has. "
        "Remove the agreement gate",
    ),
    Rule(
        lambda config: config.strategy.kind == "direct" and any(map(is_relative, config.gates)),
        "gates",
        "the direct strategy sends all requests to the candidate, so no gate can compare it with the champion. Give "
        "error_rate gates a max_rate and latency gates a max_latency_ms, and remove other gates",
    ),
    Rule(
        lambda config: (
            config.strategy.kind == "canary" and config.strategy.steps[0] == 1 and any(map(is_relative, config.gates))
        ),
        "strategy",
        "a canary that gives the candidate all requests at once has no champion to compare it with. Begin with a "
        "smaller share, for example 0.5, or give the gates fixed limits",
    ),
    Rule(
        _beta_with_other_rewards,
        "reward",
        "the algorithm thompson_beta needs rewards between 0 and 1. Set low=0 and high=1, or use thompson_gaussian",
    ),
    Rule(
        _effect_within_margin,
        "strategy",
        "min_effect must exceed the margin of the metric gate. Otherwise, a candidate with that effect cannot pass the "
        "gate",
    ),
    Rule(
        _lacks_expected_mean,
        "reward",
        "with bounded rewards, min_effect needs reward.expected_mean. Set it to your estimate of the mean reward",
    ),
    Rule(
        _baseline_without_binary,
        "reward",
        "strategy.baseline is for rewards with two values. Set binary=True in the reward, or give the strategy std "
        "instead of baseline",
    ),
    Rule(
        _effect_beyond_range,
        "strategy",
        lambda config: (
            f"with baseline and min_effect, the rate of the candidate would be {_planned_rate(config):.4g}, but it "
            "must be between 0 and 1. Reduce min_effect, or correct baseline"
        ),
    ),
    Rule(
        lambda config: sum(isinstance(gate, DriftGate) for gate in config.gates) > 1,
        "gates",
        "only one drift gate is allowed, because predictions are counted in one set of cells. Remove the others",
    ),
    Rule(
        lambda config: config.sticky is not None and config.strategy.kind not in ("canary", "ab"),
        "sticky",
        "only the strategies canary and ab can be sticky. Remove sticky, or change the strategy",
    ),
    Rule(
        lambda config: config.sticky is not None and config.drift_gate is not None,
        "gates",
        "the predictions for one user depend on each other, so a drift gate would decide too soon if sticky is set. "
        "Remove the drift gate or sticky, or compare the predictions first with the strategy shadow",
    ),
    Rule(
        lambda config: config.cohort is not None and config.strategy.kind not in ("canary", "ab"),
        "cohort",
        "only the strategies canary and ab can start with a cohort. Remove cohort, or change the strategy",
    ),
    Rule(
        lambda config: config.decision_timeout < config.bake_time,
        "decision_timeout",
        "decision_timeout must be at least bake_time. Increase decision_timeout, or reduce bake_time",
    ),
)
