"""The winner of a bandit: the version whose mean reward is certain to be greater than that of every other version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.rewards import compare_rewards
from airflow_provider_mlops.serving.rollouts.plan.gates import MetricGate
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison

_SUPERIOR = MetricGate(goal="superior")


@dataclass(frozen=True)
class Leader:
    """The arm with the highest mean reward so far, compared with each of the others.

    Parameters
    ----------
    arm
        Name of the arm.
    wins
        Whether its mean reward is certain to be greater than that of every other arm.
    sentence
        The comparison that is least certain, in words.
    """

    arm: str
    wins: bool
    sentence: str


def leader_of(plan: RolloutPlan, evidence: Evidence, arm: str) -> Leader:
    """Compare an arm of a bandit with each of the others, by tests that are valid at all times at once.

    They are valid although the shares of the arms follow from the rewards. Each test gets the part of the false alarm
    rate that a gate gets. If a version wins that is not the best, its comparison with the best one is wrong, so one
    test for each arm but the best has to be right.
    """
    uncertain: tuple[str, SequentialComparison] | None = None
    closest: tuple[str, SequentialComparison] | None = None
    for other in plan.arms:
        if other.name == arm:
            continue
        comparison = compare_rewards(plan, _SUPERIOR, evidence, (arm, other.name), plan.gate_confidence)
        if comparison.verdict != "better" and uncertain is None:
            uncertain = other.name, comparison
        closest = closest or (other.name, comparison)
    shown = uncertain or closest
    if shown is None:
        raise ValueError("a bandit has at least two arms")
    name, comparison = shown
    text = comparison.sentence.rstrip(".").replace("candidate minus champion", f"{arm} minus {name}")
    text = text.replace("of the candidate", f"of {arm}").replace("of the champion", f"of {name}")
    return Leader(arm, uncertain is None, text)
