"""Judge the counts of a window: which differences are alarms, and the verdict on the window.

Drift, data quality and performance are three families of tests that share the false alarm rate. Each family that is
tested gets an equal part of it, so that the probability of any alarm without a change is at most the rate (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.monitor.counts import WindowCounts
from airflow_provider_mlops.lifecycle.monitor.performance import LabeledRows, choose_metric, compare_performance

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.monitor.performance import Performance
    from airflow_provider_mlops.lifecycle.monitor.spec import MonitorSpec
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.stats.drift.report import DriftReport

Verdict: TypeAlias = Literal["ok", "alarm", "inconclusive"]


@dataclass(frozen=True)
class Quality:
    """One check of the data quality of one feature.

    Parameters
    ----------
    feature
        Name of the feature.
    check
        `missing`, or `unseen` for values out of range and unseen categories.
    reference_share, share
        Share of such values in the reference and in the window, between 0 and 1.
    p_value
        Probability of at least this share without a change, adjusted for all checks.
    alarm
        Whether the check raises an alarm.
    """

    feature: str
    check: str
    reference_share: float
    share: float
    p_value: float
    alarm: bool


@dataclass(frozen=True)
class Findings:
    """The verdict on a window and everything that it is based on.

    Parameters
    ----------
    reasons
        Reasons by feature, metric or check, the most important first.
    drifted
        Features that drifted, the largest drift first.
    drift
        Drift tests; None if nothing was tested.
    performance
        Metric on the labeled rows; None if it was not judged.
    counts
        Counts that the tests used.
    left_out
        Reasons why something was not tested, by column or check.
    """

    verdict: Verdict
    reasons: dict[str, str]
    counts: WindowCounts
    drifted: tuple[str, ...] = ()
    drift: DriftReport | None = None
    quality: tuple[Quality, ...] = ()
    performance: Performance | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def feature_metrics(self) -> dict[str, float]:
        """Return the PSI, the drift without chance, and the shares of each feature, for MLflow."""
        metrics: dict[str, float] = {}
        for feature in self.drift.features if self.drift else ():
            metrics[f"psi/{feature.name}"] = feature.statistic
            metrics[f"drift/{feature.name}"] = feature.effect
        for check in self.quality:
            metrics[f"{check.check}/{check.feature}"] = check.share
        return metrics

    @property
    def summary(self) -> dict[str, float]:
        """Return the numbers of the whole window."""
        metrics = {
            "rows": float(self.counts.rows),
            "labeled_rows": float(self.counts.labeled_rows),
            "drifted_features": float(len(self.drifted)),
            "quality_alarms": float(sum(check.alarm for check in self.quality)),
            "alarm": float(self.verdict == "alarm"),
        }
        if self.drift is not None and self.drift.features:
            metrics["largest_drift"] = max(feature.effect for feature in self.drift.features)
            metrics["smallest_p_value"] = min(feature.adjusted_p_value for feature in self.drift.features)
        performance = self.performance
        if performance is not None:
            name = performance.metric
            metrics[name] = performance.value
            metrics[f"{name}_lower"], metrics[f"{name}_upper"] = performance.interval
            if performance.expected is not None:
                metrics[f"{name}_expected"] = performance.expected
        return metrics


def judge(
    spec: MonitorSpec, counts: WindowCounts, evaluation: Evaluation | None = None, labels: LabeledRows | None = None
) -> Findings:
    """Test the counts of a window and, if there are enough labels, the performance.

    Parameters
    ----------
    evaluation
        Evaluation of the version; None if there is none to compare the performance with.
    labels
        Labeled rows of the window; None if there are too few to judge the performance.
    """
    from airflow_provider_mlops.stats.drift.detect import detect_drift
    from airflow_provider_mlops.stats.drift.report import DriftThresholds

    if counts.rows < spec.min_rows:
        reason = f"the window has {pluralize(counts.rows, 'prediction')}, required at least min_rows={spec.min_rows:,}"
        return Findings("inconclusive", {"rows": reason}, counts)
    rate = spec.false_alarm_rate / (2 if labels is None else 3)
    drift = detect_drift(counts.features, DriftThresholds(rate, spec.min_effect, spec.detectable_effect))
    quality = _judge_quality(drift, rate, spec.min_quality_change)
    left_out = dict(counts.left_out)
    performance = None
    if evaluation is not None and labels is not None:
        performance = _judge_performance(spec, evaluation, labels, rate, left_out)
    elif evaluation is not None:
        left_out["performance"] = (
            f"the window has {pluralize(counts.labeled_rows, 'label')}, required at least "
            f"min_labels={spec.min_labels:,}"
        )
    reasons = _alarm_reasons(drift, quality, performance)
    verdict: Verdict = "alarm"
    if not reasons:
        verdict, reasons = _judge_without_alarm(drift, counts.rows)
    return Findings(verdict, reasons, counts, drift.drifted, drift, quality, performance, left_out)


def _judge_quality(drift: DriftReport, rate: float, min_change: float) -> tuple[Quality, ...]:
    """Judge the missing and the unseen values of all features, adjusted as one family."""
    from airflow_provider_mlops.stats.drift.multiple_testing import holm

    tested = [
        (feature.name, part)
        for feature in drift.features
        for part in feature.tests
        if part.aspect in ("missing", "unseen")
    ]
    if not tested:
        return ()
    adjusted = holm([part.p_value for _, part in tested])
    checks = []
    for (name, part), p_value in zip(tested, adjusted, strict=True):
        before, now = part.reference_proportion, part.current_proportion
        alarm = bool(p_value <= rate and now - before >= min_change and now > before)
        checks.append(Quality(name, part.aspect, before, now, float(p_value), alarm))
    return tuple(checks)


def _judge_performance(
    spec: MonitorSpec, evaluation: Evaluation, labels: LabeledRows, rate: float, left_out: dict[str, str]
) -> Performance | None:
    metric = choose_metric(evaluation, spec.performance_metric, labels.has_probabilities)
    count = len(labels.truth)
    if count < spec.min_labels:
        left_out["performance"] = (
            f"the window has {pluralize(count, 'label')} of classes in the evaluation, required at least "
            f"min_labels={spec.min_labels:,}"
        )
        return None
    performance = compare_performance(evaluation, metric, labels.truth, labels.predictions, rate)
    if performance is None:
        left_out["performance"] = (
            f"the labeled rows do not define {metric.name}, for example because they are all of one class"
        )
    return performance


def _alarm_reasons(drift: DriftReport, quality: tuple[Quality, ...], performance: Performance | None) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if performance is not None and performance.worse:
        low, high = performance.interval
        reasons[performance.metric] = (
            f"{performance.value:.4g} on {pluralize(performance.rows, 'labeled row')} (interval {low:.4g} to "
            f"{high:.4g}), worse than {performance.expected:.4g} in the evaluation"
        )
    by_name = {feature.name: feature for feature in drift.features}
    for name in drift.drifted:
        reasons[name] = by_name[name].reason
    for check in sorted(quality, key=lambda check: check.reference_share - check.share):
        if check.alarm and check.feature not in reasons:
            what = "missing" if check.check == "missing" else "out of range or unseen in the reference"
            reasons[check.feature] = f"{check.share:.1%} of the values are {what}, up from {check.reference_share:.1%}"
    return reasons


def _judge_without_alarm(drift: DriftReport, rows: int) -> tuple[Verdict, dict[str, str]]:
    if not drift.features:
        return "inconclusive", {"features": "none of the logged features can be compared with the profile"}
    unsure = {feature.name: feature.reason for feature in drift.features if feature.verdict == "inconclusive"}
    if unsure:
        return "inconclusive", unsure
    return "ok", {
        "drift": (
            f"no change is large enough for an alarm in {pluralize(len(drift.features), 'column')} of "
            f"{pluralize(rows, 'prediction')}"
        )
    }
