"""The decisions of the metric gates: limit, champion, baseline, slice and fairness.

They use only the evaluation and its per-row predictions; no model is loaded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.evaluate.fairness import NEEDS_BOTH_CLASSES
from airflow_provider_mlops.lifecycle.reports.report import format_number
from airflow_provider_mlops.lifecycle.scoring.evaluation import FairnessScore, Interval
from airflow_provider_mlops.lifecycle.scoring.intervals import difference
from airflow_provider_mlops.lifecycle.scoring.metrics import Metric
from airflow_provider_mlops.lifecycle.validate.evidence import Evidence
from airflow_provider_mlops.lifecycle.validate.gate_result import GateResult, GateVerdict, gate_result
from airflow_provider_mlops.lifecycle.validate.gates import (
    BaselineGate,
    ChampionGate,
    FairnessGate,
    LimitGate,
    SliceGate,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def decide_limit(gate: LimitGate, evidence: Evidence) -> GateResult:
    """Decide whether the metric, or its whole interval, is within the limits."""
    metric = evidence.metric(gate.metric)
    value = evidence.evaluation.metrics[metric.name]
    low, high = evidence.evaluation.intervals[metric.name]
    verdict = _compare_with_limits(gate, value, (low, high))
    reason = f"{metric.name} is {format_number(value)} ({_interval((low, high), evidence.evaluation.confidence)}), "
    reason += f"required {gate.requirement}"
    if verdict == "inconclusive":
        reason += "; the interval includes a limit, so more test rows are needed"
    return gate_result(gate, verdict, reason, {"value": value, "low": low, "high": high})


def decide_champion(gate: ChampionGate, evidence: Evidence) -> GateResult:
    """Decide whether the model is not worse than the champion by more than the margin."""
    metric = evidence.metric(gate.metric)
    missing = evidence.no_champion()
    if missing is not None:
        return gate_result(gate, *missing)
    name = f"the champion, version {evidence.evaluation.champion_version}"
    if gate.margin >= 0:
        required = f"allowed loss {format_number(gate.margin)}"
    else:
        required = f"required gain {format_number(-gate.margin)}"
    return _compare(gate, evidence, metric, "champion", name, -gate.margin, required)


def decide_baseline(gate: BaselineGate, evidence: Evidence) -> GateResult:
    """Decide whether the model is better than the baseline."""
    metric = evidence.metric(gate.metric)
    required = f"required gain above {format_number(gate.gain)}"
    return _compare(gate, evidence, metric, "baseline", "the baseline", gate.gain, required, strictly=True)


def decide_slices(gate: SliceGate, evidence: Evidence) -> GateResult:
    """Decide whether the model is not worse on any slice by more than the margin."""
    metric = evidence.metric(gate.metric)
    if not evidence.evaluation.slices:
        return gate_result(gate, "inconclusive", "the evaluation has no slices. Set slices in the evaluate step")
    if gate.against == "champion":
        missing = evidence.no_champion()
        if missing is not None:
            return gate_result(gate, *missing)
    gains = _slice_gains(gate, evidence, metric)
    return _judge_slices(gate, metric, gains)


@dataclass
class _SliceGains:
    """Gain and standard error of each slice that can be judged, and the names of those that cannot."""

    judged: list[tuple[str, float, float]] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)


def _slice_gains(gate: SliceGate, evidence: Evidence, metric: Metric) -> _SliceGains:
    gains = _SliceGains()
    for name, rows in _slices(gate, evidence):
        gain = _slice_gain(gate, evidence, metric, rows) if len(rows) >= gate.min_rows else None
        if gain is None:
            gains.unjudged.append(name)
        else:
            gains.judged.append((name, *gain))
    return gains


def _judge_slices(gate: SliceGate, metric: Metric, gains: _SliceGains) -> GateResult:
    judged, unjudged = gains.judged, gains.unjudged
    worse: list[str] = []
    uncertain: list[str] = []
    for name, gain, error in judged:
        if gain >= -gate.margin:
            continue
        significant = gain + _normal_quantile(1 - (1 - gate.confidence) / len(judged)) * error < 0
        (worse if significant else uncertain).append(f"{name} by {format_number(-gain)}")
    worst = min((gain for _, gain, _ in judged), default=None)
    values = {"slices": float(len(judged)), "unjudged": float(len(unjudged))}
    reference = "the champion on the same slice" if gate.against == "champion" else "the model on all rows"
    allowed = f"allowed loss {format_number(gate.margin)}"
    if worst is not None:
        values["worst"] = worst
    if worse:
        reason = f"{metric.name} is worse than for {reference} in {_join(worse)}, {allowed}"
        return gate_result(gate, "failed", reason, values)
    if uncertain:
        reason = (
            f"{metric.name} may be worse than for {reference} in {_join(uncertain)}, {allowed}, but the difference is "
            "not significant"
        )
        return gate_result(gate, "inconclusive", reason, values)
    if unjudged and gate.small_slices == "inconclusive":
        reason = (
            f"{pluralize(len(unjudged), 'slice')} with fewer than {gate.min_rows} rows or only one class cannot be "
            f"judged: {_join(unjudged)}. Use more test rows, or small_slices='ignore'"
        )
        return gate_result(gate, "inconclusive", reason, values)
    if worst is None:
        return gate_result(gate, "inconclusive", f"no slice has at least {gate.min_rows} rows", values)
    change = f"a gain of {format_number(worst)}" if worst >= 0 else f"a loss of {format_number(-worst)}"
    reason = (
        f"{metric.name} compared with {reference}: the worst of {pluralize(len(judged), 'slice')} has {change}, "
        f"{allowed}"
    )
    return gate_result(gate, "passed", reason, values)


def decide_fairness(gate: FairnessGate, evidence: Evidence) -> GateResult:
    """Decide whether the fairness measure is within its limits for every sensitive column."""
    scores = [s for s in evidence.evaluation.fairness if gate.columns is None or s.column in gate.columns]
    if not scores:
        reason = "the evaluation has no sensitive columns. Set sensitive in the evaluate step"
        return gate_result(gate, "inconclusive", reason)
    values: dict[str, float] = {}
    measured: dict[GateVerdict, list[str]] = {"passed": [], "failed": [], "inconclusive": []}
    unjudged = []
    for score in scores:
        obstacle = _fairness_obstacle(gate, score)
        if obstacle is not None:
            unjudged.append(f"{score.column} ({obstacle})")
            continue
        value, ends = score.metrics[gate.metric], score.intervals.get(gate.metric)
        values[score.column] = value
        description = f"{format_number(value)} for {score.column}"
        if ends is not None:
            values |= {f"{score.column}_low": ends[0], f"{score.column}_high": ends[1]}
            description += f" ({_interval(ends, evidence.evaluation.confidence)})"
        measured[_compare_with_limits(gate, value, ends)].append(description)
    required = f"required {gate.requirement}"
    if measured["failed"]:
        return gate_result(gate, "failed", f"{gate.metric} is {_join(measured['failed'])}, {required}", values)
    if unjudged:
        return gate_result(gate, "inconclusive", f"{gate.metric} cannot be judged for {_join(unjudged)}", values)
    if measured["inconclusive"]:
        reason = f"{gate.metric} is {_join(measured['inconclusive'])}, {required}; the interval includes a limit"
        return gate_result(gate, "inconclusive", reason, values)
    return gate_result(gate, "passed", f"{gate.metric} is {_join(measured['passed'])}, {required}", values)


def _fairness_obstacle(gate: FairnessGate, score: FairnessScore) -> str | None:
    """Return why a column cannot be judged, or None if it can."""
    small = _small_groups(gate, score)
    if small:
        return f"too few rows in {_join(small)}"
    if gate.metric not in score.metrics:
        return "the rows do not define the measure"
    if gate.certain and gate.metric not in score.intervals:
        return "no interval: run the evaluate step again"
    return None


def _compare_with_limits(gate: LimitGate | FairnessGate, value: float, ends: Interval | None) -> GateVerdict:
    """Compare the value with the limits or, if the gate must be certain, the whole interval."""
    lower = float("-inf") if gate.min_value is None else gate.min_value
    upper = float("inf") if gate.max_value is None else gate.max_value
    low, high = ends if gate.certain and ends is not None else (value, value)
    if lower <= low and high <= upper:
        return "passed"
    return "failed" if high < lower or low > upper else "inconclusive"


def _compare(
    gate: ChampionGate | BaselineGate,
    evidence: Evidence,
    metric: Metric,
    other: str,
    other_name: str,
    min_gain: float,
    required: str,
    strictly: bool = False,
) -> GateResult:
    """Decide by the paired interval of the gain over another model, which must be above `min_gain`."""
    rows = evidence.evaluation.rows
    if rows < gate.min_rows:
        return gate_result(
            gate, "inconclusive", f"the evaluation has {pluralize(rows, 'test row')}, required at least {gate.min_rows}"
        )
    resampled = evidence.resampled
    if metric.name not in resampled[other].estimates:
        return gate_result(gate, "inconclusive", f"the test rows do not define {metric.name} for {other_name}")
    gain, (low, high) = difference(metric, resampled["model"], resampled[other], gate.confidence)
    value, reference = (resampled[name].estimates[metric.name] for name in ("model", other))
    values = {"value": value, "reference": reference, "gain": gain, "low": low, "high": high}
    reason = (
        f"{metric.name} is {format_number(value)}, and {format_number(reference)} for {other_name}: "
        f"a gain of {format_number(gain)} ({_interval((low, high), gate.confidence)}), {required}"
    )
    if low > min_gain or (low == min_gain and not strictly):
        return gate_result(gate, "passed", reason, values)
    if high < min_gain or (high == min_gain and strictly):
        return gate_result(gate, "failed", reason, values)
    reason += "; the interval includes this limit, so more test rows are needed"
    return gate_result(gate, "inconclusive", reason, values)


def _slices(gate: SliceGate, evidence: Evidence) -> Iterator[tuple[str, NDArray[np.int64]]]:
    import numpy as np

    evaluated = dict.fromkeys(part.column for part in evidence.evaluation.slices)
    for column in evaluated if gate.columns is None else gate.columns:
        labels = evidence.rows.groups[column]
        for label in sorted(set(labels)):
            yield f"{column} = {label}", np.flatnonzero(labels == label)


def _slice_gain(
    gate: SliceGate, evidence: Evidence, metric: Metric, rows: NDArray[np.int64]
) -> tuple[float, float] | None:
    """Return the gain on the rows of a slice and its standard error, or None if they do not define the metric."""
    import numpy as np

    names = ["model", "champion"] if gate.against == "champion" else ["model"]
    drawn = evidence.resample(names, rows)
    here = drawn["model"]
    other = drawn["champion"] if gate.against == "champion" else evidence.resampled["model"]
    if metric.name not in here.estimates or metric.name not in other.estimates:
        return None
    gain = metric.gain(here.estimates[metric.name], over=other.estimates[metric.name])
    # Against the overall metric, the resamples are not paired: the error is a little too large, never too small.
    spread = here.resamples[metric.name] - other.resamples[metric.name]
    return gain, float(np.std(spread[np.isfinite(spread)])) if np.isfinite(spread).any() else 0.0


def _small_groups(gate: FairnessGate, score: FairnessScore) -> list[str]:
    rarest = "rarest_class_rows" if gate.metric in NEEDS_BOTH_CLASSES else None
    return [
        name
        for name, group in score.groups.items()
        if group["rows"] < gate.min_rows or (rarest is not None and group.get(rarest, 1.0) < 1)
    ]


def _normal_quantile(probability: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(probability))


def _interval(ends: tuple[float, float], confidence: float) -> str:
    return f"{100 * confidence:g}% interval {format_number(ends[0])} to {format_number(ends[1])}"


def _join(parts: list[str], most: int = 3) -> str:
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")
