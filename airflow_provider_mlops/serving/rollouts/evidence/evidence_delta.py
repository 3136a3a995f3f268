"""Evidence from records of the write-ahead log, before it is added to the rollout store."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_mlops.serving.log import prediction_id as prediction_ids
from airflow_provider_mlops.serving.log.record import FeedbackRecord, feedback_rows
from airflow_provider_mlops.serving.policy.policy import COHORT
from airflow_provider_mlops.serving.rollouts.arm_statistics import (
    LATENCY_CLUSTERS,
    ArmStatistics,
    cluster_of,
    latency_cell,
)
from airflow_provider_mlops.serving.rollouts.evidence.expected_failures import ExpectedFailures
from airflow_provider_mlops.serving.rollouts.plan.context_features import CategoryFeature, NumberFeature
from airflow_provider_mlops.serving.rollouts.plan.gates import DriftGate, LatencyGate
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import AbStrategy, CanaryStrategy, ContextualStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.value_text import as_text

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding

Key = tuple[str, int, str]
"""Rollout, step and arm."""


class Decision(NamedTuple):
    """An answer that a reward will belong to. `arm` is its position in the plan; `context` and `outputs` are JSON.

    `cluster` is known for sticky keys, and `propensity` if `RolloutPlan.weighs_rewards`.
    """

    prediction_id: bytes
    rollout: str
    step: int
    arm: int
    rows: int
    context: str | None
    outputs: str | None
    cluster: int | None = None
    propensity: float | None = None


class Feedback(NamedTuple):
    """A label or a reward for a row of a request; `row` is -1 if the id names none, `time` in microseconds."""

    prediction_id: bytes
    row: int
    label: str | None
    reward: float | None
    time: int


_MAX_STEP = 1000


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    rows: int = 0
    compared: int = 0
    agreed: float = 0.0
    latency: Counter[int] = field(default_factory=Counter)
    outputs: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    request_clusters: dict[int, tuple[float, float]] = field(default_factory=dict)
    expected_errors: dict[int, tuple[int, int]] = field(default_factory=dict)
    latency_clusters: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


class EvidenceDelta:
    """Evidence from a stretch of the log that is not yet in the store.

    Parameters
    ----------
    plan_of
        Function that returns the plan of a rollout by its id. Records of a rollout for which it returns None are
        skipped.
    expected
        Rates of failures before the stretch, which its requests change.
    """

    def __init__(self, plan_of: Callable[[str], RolloutPlan | None], expected: ExpectedFailures | None = None) -> None:
        self._plan_of = plan_of
        self.expected = expected or ExpectedFailures()
        self._counts: dict[Key, _Counts] = defaultdict(_Counts)
        self.decisions: list[Decision] = []
        self.feedback: list[Feedback] = []

    def __bool__(self) -> bool:
        return bool(self._counts or self.feedback)

    def statistics(self) -> dict[Key, ArmStatistics]:
        """Return the statistics of the records, without rewards."""
        return {
            key: ArmStatistics(
                requests=counts.requests,
                errors=counts.errors,
                rows=counts.rows,
                compared=counts.compared,
                agreed=counts.agreed,
                latency=dict(counts.latency),
                outputs=dict(counts.outputs),
                request_clusters=counts.request_clusters,
                expected_errors=counts.expected_errors,
                latency_clusters=counts.latency_clusters,
            )
            for key, counts in self._counts.items()
        }

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record: an answer, a failure or feedback. Other records are ignored.

        A record counts as a whole or, if any part of it is invalid, not at all: then any exception is raised.
        """
        if "feedback" in record:
            self.feedback += [
                Feedback(*target, label, None if reward is None else float(reward), int(micros))
                for name, label, micros, reward in feedback_rows(cast("FeedbackRecord", record))
                if (target := prediction_ids.split(name)) is not None
            ]
        elif "rollout" in record and (plan := self._plan_of(record["rollout"])) is not None:
            if "failure" in record:
                self._add(record, plan, _Counts(requests=1, errors=1))
            elif "predictions" in record:
                self._add(record, plan, _answer_counts(record, plan), _decision(record, plan))

    def _add(
        self, record: Mapping[str, Any], plan: RolloutPlan, added: _Counts, decision: Decision | None = None
    ) -> None:
        cluster = None if plan.sticky is None else _cluster(record)
        counts = self._counts[_key(record)]
        counts.requests += added.requests
        counts.errors += added.errors
        counts.rows += added.rows
        counts.compared += added.compared
        counts.agreed += added.agreed
        counts.latency.update(added.latency)
        # The requests of a cohort are not a random part of all requests.
        if plan.sticky is None and isinstance(plan.strategy, CanaryStrategy | AbStrategy) and record["arm"] != COHORT:
            self._expect(record["rollout"], counts, added)
        for cell, share in added.outputs.items():
            counts.outputs[cell] += share
        if cluster is not None:
            requests, errors = counts.request_clusters.get(cluster, (0, 0))
            counts.request_clusters[cluster] = (requests + added.requests, errors + added.errors)
            if added.latency and any(isinstance(gate, LatencyGate) for gate in plan.all_gates):
                counts.latency_clusters[cluster % LATENCY_CLUSTERS].update(added.latency)
        if decision is not None:
            self.decisions.append(decision)

    def _expect(self, rollout: str, counts: _Counts, added: _Counts) -> None:
        if level := self.expected.level(rollout):
            requests, errors = counts.expected_errors.get(level, (0, 0))
            counts.expected_errors[level] = (requests + added.requests, errors + added.errors)
        self.expected.add(rollout, failed=added.errors > 0)


def _key(record: Mapping[str, Any]) -> Key:
    rollout, step, arm = record["rollout"], record["step"], record["arm"]
    if type(step) is not int or not 0 <= step <= _MAX_STEP or type(arm) is not str:
        raise ValueError(f"the step {step!r} or the arm {arm!r} is not valid")
    return rollout, step, arm


def _cluster(record: Mapping[str, Any]) -> int:
    return cluster_of(record.get("key"), str(record.get("predictions") or record.get("failure")))


def _answer_counts(record: Mapping[str, Any], plan: RolloutPlan) -> _Counts:
    outputs = record["output"]
    counts = _Counts(requests=1, rows=len(outputs))
    if record["latency_ms"] is not None:
        counts.latency[latency_cell(record["latency_ms"])] += 1
    gate = plan.drift_gate
    # Rows of one request may depend on each other. The tests of the gates assume independence, so they count requests.
    if gate is not None:
        for cell, rows in Counter(output_cell(gate, output) for output in outputs).items():
            counts.outputs[cell] += rows / len(outputs)
    if "shadow_of" in record:
        counts.compared = 1
        counts.agreed = record["agreed"] / len(outputs)
    return counts


def _decision(record: Mapping[str, Any], plan: RolloutPlan) -> Decision | None:
    """Return the decision that a reward will belong to; None if the rollout has no rewards or the record is a copy."""
    if plan.reward is None or "shadow_of" in record:
        return None
    outputs, name = record["output"], record["predictions"]
    target = prediction_ids.split(name)
    if target is None or target[1] != prediction_ids.WHOLE_REQUEST:
        raise ValueError(f"the prediction id {name!r} is not valid")
    arms = [arm.name for arm in plan.all_arms]
    if record["arm"] not in arms:
        raise ValueError(f"the rollout has no arm {record['arm']!r}")
    return Decision(
        target[0],
        record["rollout"],
        record["step"],
        arms.index(record["arm"]),
        len(outputs),
        _packed_context(plan, record.get("context")),
        _packed(outputs) if plan.reward.source == "correct" else None,
        None if record.get("key") is None else _cluster(record),
        record["propensity"] if plan.weighs_rewards else None,
    )


def _packed_context(plan: RolloutPlan, context: Mapping[str, Any] | None) -> str | None:
    """Return the values of the declared features, in their order."""
    if context is None or not isinstance(plan.strategy, ContextualStrategy):
        return None
    return _packed([context.get(feature.name) for feature in plan.strategy.features])


def _packed(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def output_cell(gate: DriftGate, output: Any) -> int:
    """Return the index of the cell in which a prediction is counted; the last cell is for undeclared ones.

    >>> gate = DriftGate(edges=(0.0, 1.0))
    >>> [output_cell(gate, output) for output in (-1.0, 0.0, 0.5, 2.0, None)]
    [0, 0, 1, 2, 2]
    >>> gate = DriftGate(classes=("0", "1"))
    >>> [output_cell(gate, output) for output in (0, 1.0, "1", 2, True)]
    [0, 1, 1, 2, 2]
    """
    if gate.classes is not None:
        # One version may predict the class 1, and another one 1.0.
        text = str(int(output)) if type(output) is float and output.is_integer() else as_text(output)
        return gate.classes.index(text) if text in gate.classes else len(gate.classes)
    edges = gate.edges or ()
    if type(output) in (int, float, bool) and not math.isnan(output):
        return bisect_left(edges, output)
    return len(edges)


def observed_reward(declared: Reward, output: Any, label: str | None, reward: float | None) -> float | None:
    """Return the reward that the feedback for one row counts as; None if it lacks what `declared.source` needs.

    Parameters
    ----------
    output
        The prediction.

    Examples
    --------
    >>> observed_reward(Reward(source="correct"), 1, "1.0", None)
    1.0
    >>> observed_reward(Reward(source="label"), 1, "unknown", None)
    """
    if declared.source == "reward":
        return None if reward is None else declared.clip(reward)
    if label is None:
        return None
    if declared.source == "label":
        try:
            return declared.clip(_TRUTH[label] if label in _TRUTH else float(label))
        except ValueError:
            return None
    return float(is_correct(output, label))


_TRUTH = {"true": 1.0, "false": 0.0}


def is_correct(output: Any, label: str) -> bool:
    """Return whether a label equals the prediction; numbers are compared as numbers.

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


def feature_encoding(strategy: ContextualStrategy) -> FeatureEncoding:
    """Return the encoding of a contextual bandit's context as numbers."""
    from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding

    return FeatureEncoding(
        numbers={
            feature.name: (feature.center, feature.scale)
            for feature in strategy.features
            if isinstance(feature, NumberFeature)
        },
        categories={
            feature.name: feature.values for feature in strategy.features if isinstance(feature, CategoryFeature)
        },
    )


def statistics_of_rewards(plan: RolloutPlan, rewards: Sequence[tuple[Decision, float]]) -> ArmStatistics:
    """Return what rewards add to the statistics of their arm. Each comes with its decision."""
    import numpy as np

    from airflow_provider_mlops.stats.sequences.mean import Moments

    values = [reward for _, reward in rewards]
    moments = Moments.of(values)
    gram: tuple[float, ...] = ()
    response: tuple[float, ...] = ()
    if isinstance(plan.strategy, ContextualStrategy):
        encoding, names = feature_encoding(plan.strategy), [feature.name for feature in plan.strategy.features]
        contexts = [decision.context for decision, _ in rewards]
        features = np.array(
            [
                encoding.encode(None if context is None else dict(zip(names, json.loads(context), strict=True)))
                for context in contexts
            ]
        )
        gram = tuple((features.T @ features).ravel().tolist())
        response = tuple((features.T @ values).tolist())
    clusters: dict[int, tuple[float, float]] = {}
    for decision, reward in rewards:
        cluster = decision.cluster
        if cluster is None:
            cluster = cluster_of(None, decision.prediction_id.hex())
        added = 1.0 if decision.propensity is None else 1 / decision.propensity
        weight, total = clusters.get(cluster, (0.0, 0.0))
        clusters[cluster] = (weight + added, total + added * reward)
    bounds = () if plan.reward is None else (plan.reward.low, plan.reward.high)
    return ArmStatistics(
        reward_count=moments.count,
        reward_total=moments.total,
        reward_deviations=moments.deviations,
        rewards_at_bounds=sum(value in bounds for value in values),
        rewards_of_rows=sum(decision.rows > 1 for decision, _ in rewards),
        reward_clusters=clusters,
        gram=gram,
        response=response,
    )


def merge_feedback(feedback: Iterable[Feedback]) -> dict[tuple[bytes, int], Feedback]:
    """Return one entry per row of a request, with its first label and its first reward."""
    merged: dict[tuple[bytes, int], Feedback] = {}
    for entry in feedback:
        key = (entry.prediction_id, entry.row)
        kept = merged.get(key)
        if kept is None:
            merged[key] = entry
        elif kept.label is None or kept.reward is None:
            merged[key] = kept._replace(
                label=entry.label if kept.label is None else kept.label,
                reward=entry.reward if kept.reward is None else kept.reward,
            )
    return merged
