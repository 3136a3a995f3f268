"""Watch a served model: drift of what it is asked and answers, data quality, and performance where labels have come."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.monitor.spec import MonitorResult, MonitorSpec
from airflow_provider_mlops.lifecycle.result_size import cut, first
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.monitor.findings import Findings
    from airflow_provider_mlops.lifecycle.monitor.window import Window
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

log = logging.getLogger(__name__)

"""How many drifted features and reasons a result names; the report and MLflow have them all."""


def monitor(spec: MonitorSpec, workspace: Workspace) -> MonitorResult:
    """Compare the window of the prediction log with the model's profiles and its evaluation.

    Raises InvalidSpecError if the model has no champion, no profile or no prediction log, RejectedError after
    an alarm with `on_alarm="fail"`, BackendUnavailableError if MLflow does not answer.
    """
    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.lifecycle.monitor.findings import judge, summary
    from airflow_provider_mlops.lifecycle.monitor.report import build
    from airflow_provider_mlops.lifecycle.monitor.window import open_window
    from airflow_provider_mlops.registry import models, tags

    started = time.monotonic()
    if spec.window <= timedelta(0):
        raise InvalidSpecError("window", spec.window, "it must be longer than nothing, such as timedelta(days=1)")
    until = as_utc(spec.until or datetime.now(UTC))
    since = until - spec.window
    registry = workspace.registry()
    version = _version(registry, spec)
    version_tags = models.tags(registry, version)
    profile = _profile(spec, version, version_tags.get(tags.PROFILE_URI))
    prediction_profile = _optional_profile(version_tags.get(tags.PREDICTION_PROFILE_URI))
    evaluation = _optional_evaluation(version_tags.get(tags.EVALUATION_URI))
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
        "%s version %d made %d predictions from %s to %s; %d of them have a label",
        spec.model_name, version.version, window.rows, _shown(since), _shown(until), window.labelled_rows,
    )  # fmt: skip
    findings = judge(spec, window, profile, prediction_profile, evaluation)
    metrics = summary(window, findings)
    report_uri = workspace.uri("reports") + "/monitor.html"
    report = build(spec, version, window, findings)
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
        run.log_metrics(metrics | findings.feature_metrics)
        run.set_tags({tags.VERDICT: findings.verdict, "mlops.report_uri": report_uri})
        run.log_text(report.html(), "reports/monitor.html")
    _say(spec, window, findings, report_uri, time.monotonic() - started)
    if findings.verdict == "alarm" and spec.on_alarm == "fail":
        raise RejectedError(
            f"{spec.model_name} version {version.version}: {_few(findings.reasons)}. The report is {report_uri}"
        )
    reasons = {cut(key, 80): cut(reason, 160) for key, reason in findings.reasons.items()}
    return MonitorResult(
        verdict=findings.verdict,
        drifted_features=first((cut(name, 80) for name in findings.drifted), 1_500),
        reasons={name: reasons[name] for name in first(reasons, 4_000, beside=170)},
        metrics=metrics,
        rows=window.rows,
        labelled_rows=window.labelled_rows,
        report_uri=report_uri,
        mlflow_run_id=run.id,
        model_version=version.version,
    )


def _version(registry: Registry, spec: MonitorSpec) -> ModelVersion:
    from airflow_provider_mlops.registry import models

    return models.get(registry, spec.model_name, spec.version if spec.version is not None else "champion")


def _profile(spec: MonitorSpec, version: ModelVersion, tagged: str | None) -> Profile:
    uri = spec.profile_uri or tagged
    if uri is None:
        raise InvalidSpecError(
            "profile_uri",
            None,
            f"{version.name} version {version.version} has no tag `mlops.profile_uri`: name the profile that the "
            "analyze step made of its data, or train with profile_uri",
        )
    return Profile.read(uri)


def _optional_profile(uri: str | None) -> Profile | None:
    if uri is None:
        log.warning(
            "The version has no profile of its predictions: their drift is not tested. The evaluate step makes one."
        )
        return None
    return Profile.read(uri)


def _optional_evaluation(uri: str | None) -> Evaluation | None:
    if uri is None:
        log.warning("The version has no evaluation: its performance has nothing to be compared with.")
        return None
    return Evaluation.read(uri)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _few(reasons: dict[str, str]) -> str:
    shown = [f"{key}: {reason}" for key, reason in list(reasons.items())[:3]]
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(shown) + more


def _say(spec: MonitorSpec, window: Window, findings: Findings, report_uri: str, seconds: float) -> None:
    level = logging.WARNING if findings.verdict == "alarm" else logging.INFO
    log.log(
        level,
        "Verdict on %s: %s (%s). Looked at %d predictions in %.1f s. Report: %s",
        spec.model_name, findings.verdict, _few(findings.reasons), window.rows, seconds, report_uri,
    )  # fmt: skip


STEP = Step(
    "monitor",
    MonitorSpec,
    MonitorResult,
    monitor,
    extras=(
        "train",
        "reports",
    ),
)
