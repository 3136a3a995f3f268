"""What records of the write-ahead log add to the statistics, decisions and rewards of rollouts."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.serving.log import prediction_id as prediction_ids
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, latency_cell
from airflow_provider_mlops.serving.rollouts.config import Reward
from airflow_provider_mlops.serving.rollouts.gates import DriftGate
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.strategies import CategoryFeature, ContextualStrategy, NumberFeature

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding

Key = tuple[str, int, str]
"""Rollout, step and arm."""


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    rows: int = 0
    compared: int = 0
    agreed: float = 0.0
    latency: Counter[int] = field(default_factory=Counter)
    outputs: dict[int, float] = field(default_factory=lambda: defaultdict(float))


class EvidenceDelta:
    """Facts out of a stretch of the log, not yet in the store.

    :param plan_of: a rollout's plan by its id; None for one that is not known, whose records are left out.
    """

    def __init__(self, plan_of: Callable[[str], RolloutPlan | None]) -> None:
        self._plan_of = plan_of
        self._counts: dict[Key, _Counts] = defaultdict(_Counts)
        self.decisions: list[dict[str, Any]] = []
        self.feedback: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._counts or self.feedback)

    def statistics(self) -> dict[Key, ArmStatistics]:
        """What was counted, without rewards."""
        return {
            key: ArmStatistics(
                counts.requests, counts.errors, counts.rows, counts.compared, counts.agreed,
                dict(counts.latency), dict(counts.outputs),
            )
            for key, counts in self._counts.items()
        }  # fmt: skip

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record into account: an answer, a failure, or feedback; others say nothing."""
        if "feedback" in record:
            for name, label, micros, *reward in record["feedback"]:
                self.feedback.append({
                    "prediction_id": name, "decision_id": name[:32], "label": label,
                    "reward": reward[0] if reward else None, "time": micros,
                })  # fmt: skip
        elif "rollout" in record and (plan := self._plan_of(record["rollout"])) is not None:
            counts = self._counts[record["rollout"], record["step"], record["arm"]]
            counts.requests += 1
            if "failure" in record:
                counts.errors += 1
            elif "predictions" in record:
                self._answer(record, plan, counts)

    def _answer(self, record: Mapping[str, Any], plan: RolloutPlan, counts: _Counts) -> None:
        outputs = record["output"]
        counts.rows += len(outputs)
        if record["latency_ms"] is not None:
            counts.latency[latency_cell(record["latency_ms"])] += 1
        gate = plan.drift_gate
        # Rows of one request may depend on each other, and the tests of the gates count what does not: requests.
        if gate is not None:
            for cell, rows in Counter(output_cell(gate, output) for output in outputs).items():
                counts.outputs[cell] += rows / len(outputs)
        if "shadow_of" in record:
            counts.compared += 1
            counts.agreed += record["agreed"] / len(outputs)
        elif plan.reward is not None:
            context = record.get("context")
            self.decisions.append({
                "prediction_id": record["predictions"], "rollout": record["rollout"], "step": record["step"],
                "arm": record["arm"], "propensity": record["propensity"], "time": record["time"],
                "context": None if context is None else json.dumps(context),
                "outputs": json.dumps(outputs) if plan.reward.source == "correct" or len(outputs) > 1 else None,
            })  # fmt: skip


def output_cell(gate: DriftGate, output: Any) -> int:
    """In which cell a prediction is counted; the last one is for what was not declared.

    >>> gate = DriftGate(edges=(0.0, 1.0))
    >>> [output_cell(gate, output) for output in (-1.0, 0.0, 0.5, 2.0, None)]
    [0, 0, 1, 2, 2]
    >>> gate = DriftGate(classes=("0", "1"))
    >>> [output_cell(gate, output) for output in (0, 1.0, "1", 2, True)]
    [0, 1, 1, 2, 2]
    """
    if gate.classes is not None:
        # A class that is a whole number reads the same where a version gives it with a fraction.
        text = str(int(output)) if type(output) is float and output.is_integer() else as_text(output)
        return gate.classes.index(text) if text in gate.classes else len(gate.classes)
    assert gate.edges is not None
    if type(output) in (int, float, bool) and not math.isnan(output):
        return bisect_left(gate.edges, output)
    return len(gate.edges)


def as_text(value: Any) -> str:
    """A prediction as labels are written.

    >>> as_text("yes"), as_text(1), as_text(True)
    ('yes', '1', 'true')
    """
    return value if type(value) is str else json.dumps(value)


def reward_of(plan: RolloutPlan, prediction_id: str, outputs: str | None, label: str | None, reward: float | None,
) -> float | None:  # fmt: skip
    """What feedback counts as; None if it says nothing that the rollout asks for, or of a row that was not there.

    :param outputs: what was answered to the rows of the request, as JSON; None for one row.
    """
    declared = plan.reward
    answers = [None] if outputs is None else json.loads(outputs)
    row = prediction_ids.row(prediction_id, len(answers))
    if declared is None or row is None:
        return None
    return earned(declared, answers[row], label, reward)


def earned(declared: Reward, output: Any, label: str | None, reward: float | None) -> float | None:
    """What the feedback for one row counts as; None if it says nothing that is asked for.

    :param output: what was answered.

    >>> earned(Reward(source="correct"), 1, "1.0", None), earned(Reward(source="label"), 1, "unknown", None)
    (1.0, None)
    """
    if declared.source == "reward":
        return None if reward is None else declared.bounded(reward)
    if label is None:
        return None
    if declared.source == "label":
        try:
            return declared.bounded(_TRUTH[label] if label in _TRUTH else float(label))
        except ValueError:
            return None
    return float(is_correct(output, label))


_TRUTH = {"true": 1.0, "false": 0.0}


def is_correct(output: Any, label: str) -> bool:
    """Whether a label is what was answered; numbers are compared as numbers.

    >>> is_correct(1, "1.0"), is_correct("yes", "yes"), is_correct(True, "true"), is_correct(1, "2")
    (True, True, True, False)
    """
    if as_text(output) == label:
        return True
    if type(output) in (int, float):
        try:
            return float(label) == float(output)
        except ValueError:
            return False
    return False


def encoding_of(strategy: ContextualStrategy) -> FeatureEncoding:
    """How the context of a contextual bandit becomes numbers."""
    from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding

    return FeatureEncoding(
        numbers={part.name: (part.centre, part.scale) for part in strategy.features if isinstance(part, NumberFeature)},
        categories={part.name: part.values for part in strategy.features if isinstance(part, CategoryFeature)},
    )


def rewarded(plan: RolloutPlan, context: str | None, reward: float) -> ArmStatistics:
    """What one reward adds to its arm."""
    gram: tuple[float, ...] = ()
    response: tuple[float, ...] = ()
    if isinstance(plan.strategy, ContextualStrategy):
        features = encoding_of(plan.strategy).encode(None if context is None else json.loads(context))
        gram = tuple(float(value) for value in (features[:, None] * features).ravel())
        response = tuple(float(value) for value in features * reward)
    return ArmStatistics(reward_count=1, reward_total=reward, reward_squares=reward**2, gram=gram, response=response)
