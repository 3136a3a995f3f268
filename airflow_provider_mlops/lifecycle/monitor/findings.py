"""What the numbers of a window mean: which differences are alarms, and what the verdict on the whole is.

Three families of tests share the false alarm rate: drift, data quality and performance. Each gets an
equal part of it, as far as it is asked at all, so that the chance of any alarm without a change stays
within the rate (Bonferroni).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from airflow_provider_mlops.lifecycle.monitor import performance as monitor_performance
from airflow_provider_mlops.lifecycle.monitor.window import Counted, Window, count_features, count_predictions
from airflow_provider_mlops.lifecycle.scoring.rows import as_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.monitor.performance import Performance
    from airflow_provider_mlops.lifecycle.monitor.spec import MonitorSpec
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput
    from airflow_provider_mlops.stats.drift.report import DriftReport

log = logging.getLogger(__name__)

Verdict: TypeAlias = Literal["ok", "alarm", "inconclusive"]


@dataclass(frozen=True)
class Quality:
    """One check of the data quality of one feature.

    :param feature: its name.
    :param check: what was counted: `missing`, or `unseen` for values out of range and unseen categories.
    :param reference_share: the share of the reference's rows, between 0 and 1.
    :param share: the share of the window's rows.
    :param p_value: the chance of so many without a change, adjusted for all the checks.
    :param alarm: whether that is an alarm.
    """

    feature: str
    check: str
    reference_share: float
    share: float
    p_value: float
    alarm: bool


@dataclass(frozen=True)
class Findings:
    """All that was found in a window.

    :param verdict: on the whole.
    :param reasons: why, by feature, metric or check, the weightiest first.
    :param drifted: the features that drifted, the largest drift first.
    :param drift: the drift tests; None if nothing was tested.
    :param quality: the checks of data quality.
    :param performance: the metric on the labelled rows; None if it was not judged.
    :param counted: the counts by bin, by column.
    :param left_out: what was not tested, and why.
    """

    verdict: Verdict
    reasons: dict[str, str]
    drifted: tuple[str, ...] = ()
    drift: DriftReport | None = None
    quality: tuple[Quality, ...] = ()
    performance: Performance | None = None
    counted: Counted | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def feature_metrics(self) -> dict[str, float]:
        """The drift, the threshold-free effect and the shares of each feature, for MLflow."""
        metrics: dict[str, float] = {}
        for feature in self.drift.features if self.drift else ():
            metrics[f"psi/{feature.name}"] = feature.statistic
            metrics[f"drift/{feature.name}"] = feature.effect
        for check in self.quality:
            metrics[f"{check.check}/{check.feature}"] = check.share
        return metrics


def judge(
    spec: MonitorSpec,
    window: Window,
    profile: Profile,
    prediction_profile: Profile | None,
    evaluation: Evaluation | None,
) -> Findings:
    """Test the window against the profiles and the evaluation."""
    from airflow_provider_mlops.stats.drift.detect import detect_drift
    from airflow_provider_mlops.stats.drift.report import DriftThresholds

    if window.rows < spec.min_rows:
        return Findings(
            "inconclusive",
            {"rows": f"{window.rows} predictions in the window are fewer than the {spec.min_rows} of min_rows"},
        )
    counted = _counted(window, profile, prediction_profile)
    labelled = evaluation is not None and window.labelled_rows >= spec.min_labels
    families = 3 if labelled else 2
    rate = spec.false_alarm_rate / families
    thresholds = DriftThresholds(rate, spec.min_effect, spec.detectable_effect)
    drift = detect_drift(counted.features, thresholds)
    quality = _quality(drift, rate, spec.min_quality_change)
    left_out = dict(counted.left_out)
    performance = None
    if evaluation is not None and labelled:
        performance = _performance(spec, window, evaluation, rate, left_out)
    elif evaluation is not None:
        left_out["performance"] = f"{window.labelled_rows} labels are fewer than the {spec.min_labels} of min_labels"
    reasons = _alarms(drift, quality, performance)
    verdict: Verdict = "alarm"
    if not reasons:
        verdict, reasons = _without_alarm(drift, window)
    return Findings(verdict, reasons, drift.drifted, drift, quality, performance, counted, left_out)


def summary(window: Window, findings: Findings) -> dict[str, float]:
    """The numbers of the whole window."""
    metrics = {
        "rows": float(window.rows),
        "labelled_rows": float(window.labelled_rows),
        "drifted_features": float(len(findings.drifted)),
        "quality_alarms": float(sum(check.alarm for check in findings.quality)),
        "alarm": float(findings.verdict == "alarm"),
    }
    if findings.drift is not None and findings.drift.features:
        metrics["largest_drift"] = max(feature.effect for feature in findings.drift.features)
        metrics["smallest_p_value"] = min(feature.adjusted_p_value for feature in findings.drift.features)
    found = findings.performance
    if found is not None:
        metrics[found.metric] = found.value
        metrics[f"{found.metric}_lower"], metrics[f"{found.metric}_upper"] = found.interval
        if found.expected is not None:
            metrics[f"{found.metric}_expected"] = found.expected
    return metrics


def _counted(window: Window, profile: Profile, prediction_profile: Profile | None) -> Counted:
    features = count_features(window, profile)
    if prediction_profile is None:
        return Counted(
            features.features, features.bins, features.left_out | {"prediction": "there is no prediction profile"}
        )
    taken = {counts.name for counts in features.features}
    predictions = count_predictions(window, prediction_profile)
    # A feature may be called like a column of the prediction profile; it was there first.
    added = tuple(counts for counts in predictions.features if counts.name not in taken)
    return Counted(
        (*added, *features.features), predictions.bins | features.bins, features.left_out | predictions.left_out
    )


def _quality(drift: DriftReport, rate: float, min_change: float) -> tuple[Quality, ...]:
    """The missing and the unseen values of all features, adjusted as one family."""
    from airflow_provider_mlops.stats.drift.multiple_testing import holm

    asked = [
        (feature.name, part)
        for feature in drift.features
        for part in feature.tests
        if part.aspect in ("missing", "unseen")
    ]
    if not asked:
        return ()
    adjusted = holm([part.p_value for _, part in asked])
    checks = []
    for (name, part), p_value in zip(asked, adjusted, strict=True):
        before, now = part.reference_proportion, part.current_proportion
        alarm = bool(p_value <= rate and now - before >= min_change and now > before)
        checks.append(Quality(name, part.aspect, before, now, float(p_value), alarm))
    return tuple(checks)


def _performance(
    spec: MonitorSpec, window: Window, evaluation: Evaluation, rate: float, left_out: dict[str, str]
) -> Performance | None:
    metric = monitor_performance.choose_metric(evaluation, spec.performance_metric, bool(window.classes))
    truth, predictions = _labelled(window, evaluation)
    if len(truth) < spec.min_labels:
        left_out["performance"] = f"only {len(truth)} labels are among the classes that the evaluation knows"
        return None
    found = monitor_performance.compare(evaluation, metric, truth, predictions, rate)
    if found is None:
        left_out["performance"] = f"the labelled rows do not define {metric.name}; a metric that needs one class may"
    return found


def _labelled(window: Window, evaluation: Evaluation) -> tuple[NDArray[np.int64] | NDArray[np.float64], ModelOutput]:
    """The labels and the predictions of the labelled rows, as the metrics take them."""
    import numpy as np

    from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput

    rows = window.labelled()
    if evaluation.problem == "regression":
        truth = rows["label"].to_numpy().astype(np.float64)
        return truth, ModelOutput(rows["output"].to_numpy().astype(np.float64))
    codes = {name: code for code, name in enumerate(evaluation.classes)}
    labels = np.array([codes.get(as_text(value), -1) for value in rows["label"].to_pylist()], dtype=np.int64)
    outputs = np.array([codes.get(as_text(value), -1) for value in rows["output"].to_pylist()], dtype=np.int64)
    known = (labels >= 0) & (outputs >= 0)
    if not known.all():
        log.warning(
            "%d labelled rows are of a class that the evaluation does not know and are left out", int((~known).sum())
        )
    probability = None
    if set(window.classes) >= set(evaluation.classes):
        columns = [rows[f"probability_{name}"].to_numpy(zero_copy_only=False) for name in evaluation.classes]
        probability = np.stack(columns, axis=1).astype(np.float64)[known]
    return labels[known], ModelOutput(outputs[known], probability)


def _alarms(drift: DriftReport, quality: tuple[Quality, ...], performance: Performance | None) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if performance is not None and performance.worse:
        low, high = performance.interval
        reasons[performance.metric] = (
            f"{performance.value:.4g} on {performance.rows} labelled rows (interval {low:.4g} to {high:.4g}), "
            f"worse than the {performance.expected:.4g} of the evaluation"
        )
    by_name = {feature.name: feature for feature in drift.features}
    for name in drift.drifted:
        reasons[name] = by_name[name].reason
    for check in sorted(quality, key=lambda check: check.reference_share - check.share):
        if check.alarm and check.feature not in reasons:
            what = "missing" if check.check == "missing" else "out of the reference's range or unseen in it"
            reasons[check.feature] = (
                f"{check.share:.1%} of the values are {what}, where {check.reference_share:.1%} were"
            )
    return reasons


def _without_alarm(drift: DriftReport, window: Window) -> tuple[Verdict, dict[str, str]]:
    if not drift.features:
        return "inconclusive", {"features": "no logged feature could be compared with the profile"}
    unsure = {feature.name: feature.reason for feature in drift.features if feature.verdict == "inconclusive"}
    if unsure:
        return "inconclusive", unsure
    return "ok", {"drift": f"{len(drift.features)} columns of {window.rows} predictions show no change worth an alarm"}
