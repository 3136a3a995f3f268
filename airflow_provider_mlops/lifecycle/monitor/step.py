"""Step 8, monitor: check a served model for drift, data quality and, if there are labels, performance."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.monitor.spec import MonitorResult, MonitorSpec
from airflow_provider_mlops.lifecycle.result_size import first_that_fit, shorten
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.monitor.counts import WindowCounts
    from airflow_provider_mlops.lifecycle.monitor.findings import Findings
    from airflow_provider_mlops.lifecycle.monitor.performance import LabeledRows
    from airflow_provider_mlops.lifecycle.monitor.window import Window
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

log = logging.getLogger(__name__)


def monitor(spec: MonitorSpec, workspace: Workspace) -> MonitorResult:
    """Compare a window of the prediction log with the model's profiles and its evaluation.

    Raises
    ------
    InvalidSpecError
        If the model has no champion, no profile or no logged predictions.
    RejectedError
        After an alarm with `on_alarm="fail"`.
    BackendUnavailableError
        If MLflow does not answer.
    """
    from airflow_provider_mlops.lifecycle.monitor.findings import judge

    started = time.monotonic()
    registry = workspace.registry()
    version = _find_version(registry, spec)
    reference = _read_reference(spec, registry, version)
    window = _open_window(spec, workspace, version)
    counts, labels = _count(spec, window, reference)
    findings = judge(spec, counts, reference.evaluation, labels)
    report_uri, run_id = _publish(spec, workspace, registry, version, window, findings)
    _log_verdict(version, findings, report_uri, time.monotonic() - started)
    if findings.verdict == "alarm" and spec.on_alarm == "fail":
        raise RejectedError(f"Rejected traffic of {version}: {_summarize(findings.reasons)}. Report: {report_uri}")
    reasons = {shorten(key, 80): shorten(reason, 160) for key, reason in findings.reasons.items()}
    return MonitorResult(
        verdict=findings.verdict,
        drifted_features=first_that_fit((shorten(name, 80) for name in findings.drifted), 1_500),
        reasons={name: reasons[name] for name in first_that_fit(reasons, 4_000, extra=170)},
        metrics=findings.summary,
        rows=window.rows,
        labeled_rows=window.labeled_rows,
        report_uri=report_uri,
        mlflow_run_id=run_id,
        model_version=version.version,
    )


@dataclass(frozen=True)
class _Reference:
    """The profiles and the evaluation of the version that the window is compared with."""

    profile: Profile
    prediction_profile: Profile | None
    evaluation: Evaluation | None


def _find_version(registry: Registry, spec: MonitorSpec) -> ModelVersion:
    from airflow_provider_mlops.registry import models

    if spec.window <= timedelta(0):
        raise InvalidSpecError("window", spec.window, "it must be positive, for example timedelta(days=1)")
    return models.get(registry, spec.model_name, spec.version if spec.version is not None else "champion")


def _read_reference(spec: MonitorSpec, registry: Registry, version: ModelVersion) -> _Reference:
    from airflow_provider_mlops.registry import models, tags

    version_tags = models.tags(registry, version)
    uri = spec.profile_uri or version_tags.get(tags.PROFILE_URI)
    if uri is None:
        raise InvalidSpecError(
            "profile_uri",
            None,
            f"{version} has no tag `mlops.profile_uri`. Set profile_uri here or in the train step to the profile that "
            "the analyze step returned",
        )
    profile = Profile.read(uri)
    prediction_profile = evaluation = None
    if tags.PREDICTION_PROFILE_URI in version_tags:
        prediction_profile = Profile.read(version_tags[tags.PREDICTION_PROFILE_URI])
    else:
        log.warning("%s has no profile of its predictions, so their drift is not tested. Run evaluate first", version)
    if tags.EVALUATION_URI in version_tags:
        evaluation = Evaluation.read(version_tags[tags.EVALUATION_URI])
    else:
        log.warning("%s has no evaluation, so its performance is not judged. Run evaluate first", version)
    return _Reference(profile, prediction_profile, evaluation)


def _open_window(spec: MonitorSpec, workspace: Workspace, version: ModelVersion) -> Window:
    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.lifecycle.monitor.window import open_window

    until = as_utc(spec.until or datetime.now(UTC))
    since = until - spec.window
    window = open_window(
        workspace.storage_uri,
        spec.model_name,
        version.version,
        since,
        until,
        engine.connect(),
        include_pinned=spec.include_pinned,
    )
    log.info(
        "Read %s of %s, %s with a label, from %s to %s",
        pluralize(window.rows, "prediction"),
        version,
        f"{window.labeled_rows:,}",
        _format_time(since),
        _format_time(until),
    )
    return window


def _count(spec: MonitorSpec, window: Window, reference: _Reference) -> tuple[WindowCounts, LabeledRows | None]:
    """Count the columns of the window and read its labels, as far as there are enough of them to judge."""
    from airflow_provider_mlops.lifecycle.monitor.counts import WindowCounts, count_window
    from airflow_provider_mlops.lifecycle.monitor.performance import read_labels

    if window.rows < spec.min_rows:
        return WindowCounts(window.rows, window.labeled_rows), None
    counts = count_window(window, reference.profile, reference.prediction_profile)
    if reference.evaluation is None or window.labeled_rows < spec.min_labels:
        return counts, None
    return counts, read_labels(window, reference.evaluation)


def _publish(
    spec: MonitorSpec,
    workspace: Workspace,
    registry: Registry,
    version: ModelVersion,
    window: Window,
    findings: Findings,
) -> tuple[str, str]:
    """Write the report and log the metrics to MLflow. Return the report's URI and the ID of the run."""
    from airflow_provider_mlops.lifecycle.monitor.report import build_report
    from airflow_provider_mlops.registry import tags

    report_uri = workspace.uri("reports") + "/monitor.html"
    report = build_report(spec, version, window, findings)
    report.write(report_uri)
    with open_run(registry, workspace.task, "monitor") as run:
        run.log_params(
            {
                "model_name": version.name,
                "model_version": version.version,
                "window": spec.window,
                "false_alarm_rate": spec.false_alarm_rate,
                "min_effect": spec.min_effect,
            }
        )
        run.log_metrics(findings.summary | findings.feature_metrics)
        run.set_tags({tags.VERDICT: findings.verdict, "mlops.report_uri": report_uri})
        run.log_text(report.html(), "reports/monitor.html")
    return report_uri, run.id


def _log_verdict(version: ModelVersion, findings: Findings, report_uri: str, seconds: float) -> None:
    log.log(
        logging.WARNING if findings.verdict == "alarm" else logging.INFO,
        "Monitored %s of %s in %.1f s: %s (%s). Report: %s",
        pluralize(findings.counts.rows, "prediction"),
        version,
        seconds,
        findings.verdict,
        _summarize(findings.reasons),
        report_uri,
    )


def _summarize(reasons: dict[str, str]) -> str:
    parts = [f"{key}: {reason}" for key, reason in list(reasons.items())[:3]]
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(parts) + more


def _format_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


STEP = Step("monitor", MonitorSpec, MonitorResult, monitor, extras=("train", "reports"))
