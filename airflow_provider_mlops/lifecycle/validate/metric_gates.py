"""How the gates that look at metrics decide: limit, champion, baseline, slice and fairness.

Everything comes from the evaluation and its per-row predictions; no model is loaded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.evaluate.fairness import NEEDS_BOTH_CLASSES
from airflow_provider_mlops.lifecycle.reports.report import format_number as number
from airflow_provider_mlops.lifecycle.scoring.evaluation import FairnessScore, Interval
from airflow_provider_mlops.lifecycle.scoring.intervals import difference
from airflow_provider_mlops.lifecycle.scoring.metrics import Metric
from airflow_provider_mlops.lifecycle.validate.evidence import Evidence
from airflow_provider_mlops.lifecycle.validate.gates import (
    BaselineGate,
    ChampionGate,
    FairnessGate,
    Gate,
    GateResult,
    GateVerdict,
    LimitGate,
    SliceGate,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def limit(gate: LimitGate, evidence: Evidence) -> GateResult:
    """Whether the metric, or its whole interval, lies within the limits."""
    metric = evidence.metric(gate.metric)
    value = evidence.evaluation.metrics[metric.name]
    low, high = evidence.evaluation.intervals[metric.name]
    values = {"value": value, "low": low, "high": high}
    said = f"{metric.name} is {number(value)} ({_interval((low, high), evidence.evaluation.confidence)}), "
    said += f"{_wanted(gate)} is asked"
    verdict = _within(gate, value, (low, high))
    return _result(
        gate, verdict, said if verdict != "inconclusive" else f"{said}, and the interval holds a limit", values
    )


def champion(gate: ChampionGate, evidence: Evidence) -> GateResult:
    """Whether the model is no worse than the champion by more than the margin."""
    metric = evidence.metric(gate.metric)
    missing = evidence.no_champion()
    if missing is not None:
        return _result(gate, *missing)
    name = f"the champion's (version {evidence.evaluation.champion_version})"
    asked = f"a loss of {number(gate.margin)} is allowed" if gate.margin >= 0 else f"{number(-gate.margin)} is asked"
    return _compare(gate, evidence, metric, "champion", name, -gate.margin, asked)


def baseline(gate: BaselineGate, evidence: Evidence) -> GateResult:
    """Whether the model is better than the baseline."""
    metric = evidence.metric(gate.metric)
    asked = f"more than {number(gate.gain)} is asked"
    return _compare(gate, evidence, metric, "baseline", "the baseline's", gate.gain, asked, strictly=True)


def slices(gate: SliceGate, evidence: Evidence) -> GateResult:
    """Whether no slice is worse by more than the margin."""
    metric = evidence.metric(gate.metric)
    if not evidence.evaluation.slices:
        return _result(gate, "inconclusive", "the evaluation has no slices: name slice columns in evaluate")
    if gate.against == "champion":
        missing = evidence.no_champion()
        if missing is not None:
            return _result(gate, *missing)
    judged, unjudged, worst = [], [], float("inf")
    for name, rows in _groups(gate, evidence):
        compared = _slice_resamples(gate, evidence, metric, rows) if len(rows) >= gate.min_rows else None
        if compared is None:
            unjudged.append(name)
        else:
            judged.append((name, *compared))
    failed: list[str] = []
    doubtful: list[str] = []
    for name, gain, std in judged:
        worst = min(worst, gain)
        if gain >= -gate.margin:
            continue
        sure = gain + _quantile(1 - (1 - gate.confidence) / len(judged)) * std < 0
        (failed if sure else doubtful).append(f"{name} by {number(-gain)}")
    reference = "the champion there" if gate.against == "champion" else "the model overall"
    values = {"slices": float(len(judged)), "unjudged": float(len(unjudged))}
    values |= {"worst": worst} if judged else {}
    asked = f"{metric.name} may be {number(gate.margin)} worse than {reference}"
    if failed:
        return _result(gate, "failed", f"{asked}, and is worse in {_some(failed)}", values)
    if doubtful:
        return _result(
            gate, "inconclusive", f"{asked}; it seems worse, but not surely so, in {_some(doubtful)}", values
        )
    if unjudged and gate.small_slices == "inconclusive":
        few = f"fewer than {gate.min_rows} rows or only one class in {_some(unjudged)}"
        return _result(gate, "inconclusive", f"{len(unjudged)} slices cannot be judged: {few}", values)
    if not judged:
        return _result(gate, "inconclusive", f"no slice has the {gate.min_rows} rows that are asked", values)
    return _result(gate, "passed", f"{asked}; in the worst of {len(judged)} slices the gain is {number(worst)}", values)


def fairness(gate: FairnessGate, evidence: Evidence) -> GateResult:
    """Whether the fairness measure lies within its limits for every sensitive column."""
    scores = [s for s in evidence.evaluation.fairness if gate.columns is None or s.column in gate.columns]
    if not scores:
        return _result(gate, "inconclusive", "the evaluation has no sensitive columns: name some in evaluate")
    values: dict[str, float] = {}
    found: dict[GateVerdict, list[str]] = {"passed": [], "failed": [], "inconclusive": []}
    unjudged = []
    for score in scores:
        small = _small_groups(gate, score)
        value = score.metrics.get(gate.metric)
        if value is None or small:
            unjudged.append(f"{score.column} (too few rows in {_some(small)})" if small else score.column)
            continue
        values[score.column] = value
        ends = score.intervals.get(gate.metric)
        if ends is None and gate.certain:
            unjudged.append(f"{score.column} (no interval: run evaluate again)")
            continue
        said = f"{number(value)} by {score.column}"
        if ends is not None:
            values |= {f"{score.column}_low": ends[0], f"{score.column}_high": ends[1]}
            said += f" ({_interval(ends, evidence.evaluation.confidence)})"
        found[_within(gate, value, ends)].append(said)
    asked = f"{_wanted(gate)} is asked"
    if found["failed"]:
        return _result(gate, "failed", f"{gate.metric} is {_some(found['failed'])}, {asked}", values)
    if unjudged:
        return _result(gate, "inconclusive", f"{gate.metric} cannot be judged by {_some(unjudged)}", values)
    if found["inconclusive"]:
        said = f"{gate.metric} is {_some(found['inconclusive'])}, {asked}, and the interval holds a limit"
        return _result(gate, "inconclusive", said, values)
    return _result(gate, "passed", f"{gate.metric} is {_some(found['passed'])}, {asked}", values)


def _wanted(gate: LimitGate | FairnessGate) -> str:
    """The limits in words."""
    limits = (("at least", gate.min_value), ("at most", gate.max_value))
    return " and ".join(f"{words} {number(bound)}" for words, bound in limits if bound is not None)


def _within(gate: LimitGate | FairnessGate, value: float, ends: Interval | None) -> GateVerdict:
    """Whether the value, or the whole interval if the gate is to be certain, lies within the limits."""
    least = float("-inf") if gate.min_value is None else gate.min_value
    most = float("inf") if gate.max_value is None else gate.max_value
    low, high = ends if gate.certain and ends is not None else (value, value)
    if least <= low and high <= most:
        return "passed"
    return "failed" if high < least or low > most else "inconclusive"


def _compare(
    gate: ChampionGate | BaselineGate,
    evidence: Evidence,
    metric: Metric,
    other: str,
    other_name: str,
    least: float,
    asked: str,
    strictly: bool = False,
) -> GateResult:
    """Decide from the paired interval of the gain over another model, which has to lie above `least`."""
    rows = evidence.evaluation.rows
    if rows < gate.min_rows:
        return _result(
            gate, "inconclusive", f"{rows} test rows are too few to compare: at least {gate.min_rows} are asked"
        )
    resampled = evidence.resampled
    if metric.name not in resampled[other].estimates:
        return _result(gate, "inconclusive", f"{other_name} {metric.name} is not defined on these rows")
    gain, (low, high) = difference(metric, resampled["model"], resampled[other], gate.confidence)
    value, reference = (resampled[name].estimates[metric.name] for name in ("model", other))
    values = {"value": value, "reference": reference, "gain": gain, "low": low, "high": high}
    said = (
        f"{metric.name} is {number(value)} against {other_name} {number(reference)}: "
        f"a gain of {number(gain)} ({_interval((low, high), gate.confidence)}), "
        f"{asked}"
    )
    if low > least or (low == least and not strictly):
        return _result(gate, "passed", said, values)
    if high < least or (high == least and strictly):
        return _result(gate, "failed", said, values)
    return _result(gate, "inconclusive", f"{said}, and the interval holds that: more test rows would decide", values)


def _groups(gate: SliceGate, evidence: Evidence) -> Iterator[tuple[str, NDArray[np.int64]]]:
    import numpy as np

    evaluated = dict.fromkeys(part.column for part in evidence.evaluation.slices)
    for column in evaluated if gate.columns is None else gate.columns:
        labels = evidence.rows.groups[column]
        for label in sorted(set(labels)):
            yield f"{column} = {label}", np.flatnonzero(labels == label)


def _slice_resamples(
    gate: SliceGate, evidence: Evidence, metric: Metric, rows: NDArray[np.int64]
) -> tuple[float, float] | None:
    """The gain on the rows of a slice and its standard error; None where the metric is not defined."""
    import numpy as np

    names = ["model", "champion"] if gate.against == "champion" else ["model"]
    drawn = evidence.resample(names, rows)
    here = drawn["model"]
    other = drawn["champion"] if gate.against == "champion" else evidence.resampled["model"]
    if metric.name not in here.estimates or metric.name not in other.estimates:
        return None
    gain = metric.gain(here.estimates[metric.name], over=other.estimates[metric.name])
    # Against the overall metric, the resamples are drawn apart: an error that is a little too large, never too small.
    spread = here.resamples[metric.name] - other.resamples[metric.name]
    return gain, float(np.std(spread[np.isfinite(spread)])) if np.isfinite(spread).any() else 0.0


def _small_groups(gate: FairnessGate, score: FairnessScore) -> list[str]:
    rarest = "rarest_class_rows" if gate.metric in NEEDS_BOTH_CLASSES else None
    return [
        name
        for name, group in score.groups.items()
        if group["rows"] < gate.min_rows or (rarest is not None and group.get(rarest, 1.0) < 1)
    ]


def _quantile(probability: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(probability))


def _interval(ends: tuple[float, float], confidence: float) -> str:
    return f"{100 * confidence:g} % interval {number(ends[0])} to {number(ends[1])}"


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _result(gate: Gate, verdict: GateVerdict, reason: str, values: dict[str, float] | None = None) -> GateResult:
    return GateResult(gate=gate.title, kind=gate.kind, verdict=verdict, reason=reason, values=values or {})
