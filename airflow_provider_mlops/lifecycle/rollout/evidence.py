"""The evidence of a rollout: the statistics of its arms, over all steps and in each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from airflow_provider_mlops.serving.policy.policy import COHORT
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, over_all_steps


@dataclass(frozen=True)
class Evidence:
    """The statistics of each arm, by its name.

    Parameters
    ----------
    total
        Statistics over all steps.
    step
        Statistics of the current step.
    steps
        Statistics of each step, by its number and the arm. Within a step the shares of the arms are constant.
    number
        Number of the current step, starting at 0.
    """

    total: Mapping[str, ArmStatistics] = field(default_factory=dict)
    step: Mapping[str, ArmStatistics] = field(default_factory=dict)
    steps: Mapping[tuple[int, str], ArmStatistics] = field(default_factory=dict)
    number: int = 0

    @classmethod
    def of(cls, statistics: Mapping[tuple[int, str], ArmStatistics], step: int) -> Self:
        """Return the evidence from the rollout store's statistics by step and arm."""
        current = {arm: part for (number, arm), part in statistics.items() if number == step}
        return cls(over_all_steps(statistics), current, statistics, step)

    def of_arm(self, arm: str) -> ArmStatistics:
        """Return the statistics of an arm over all steps; zeros if it has had no requests."""
        return self.total.get(arm, ArmStatistics())

    @property
    def step_numbers(self) -> tuple[int, ...]:
        """Numbers of the steps with statistics, in their order. A step in which only a cohort took part is none."""
        return tuple(sorted({number for number, arm in self.steps if arm != COHORT}))

    def by_step(self, arm: str) -> list[ArmStatistics]:
        """Return the statistics of an arm in each of `step_numbers`; those over all steps if no steps are known."""
        if not self.steps:
            return [self.of_arm(arm)]
        return [self.steps.get((number, arm), ArmStatistics()) for number in self.step_numbers]
