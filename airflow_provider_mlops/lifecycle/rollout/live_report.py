"""The report of a rollout as a page, written at each check: weights and evidence over time, gates and history."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.lifecycle.reports.report import Report
from airflow_provider_mlops.lifecycle.reports.timeline import Series, Timeline
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import Finding, findings
from airflow_provider_mlops.lifecycle.rollout.measurements import Measurement, Measurements
from airflow_provider_mlops.lifecycle.rollout.question import is_asked
from airflow_provider_mlops.serving.rollouts.attendance import Attendance, read_attendances
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState, step_text

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

REFRESH_SECONDS = 10


def report_uri(storage_uri: str, rollout: Rollout) -> str:
    """Return the URI of a rollout's report: among the reports of the task that started the rollout."""
    return storage.join(storage_uri, "reports", rollout.started_by.path, f"rollout-{rollout.id}.html")


def write_report(storage_uri: str, store: RolloutStore, rollout: Rollout, now: datetime | None = None) -> str:
    """Write the report of a rollout as it is now, and return its URI. A failure is logged, and stops nothing.

    Raises BackendUnavailableError if the rollout store is unavailable.
    """
    moment = now or datetime.now(UTC)
    uri = report_uri(storage_uri, rollout)
    statistics = store.statistics(rollout.id)
    evidence = Evidence.of(statistics, rollout.state.step)
    verdicts = findings(rollout.plan, evidence)
    history, last = store.history(rollout.id), read_attendances(store).get(rollout.id)
    measurements_uri = f"{uri.removesuffix('.html')}.json"
    try:
        measurements = Measurements.read(measurements_uri, rollout.id)
        measurements.add(moment, verdicts)
        storage.write_bytes(measurements_uri, measurements.model_dump_json().encode())
        report = build(rollout, evidence, verdicts, history, measurements, last, moment)
        refresh = REFRESH_SECONDS if rollout.state.is_in_progress else None
        storage.write_text(uri, report.html(refresh_seconds=refresh))
    except Exception as error:
        # The object store may be unavailable, in any of the ways of its driver. A rollout does not need its report.
        log.warning("Could not write the report of rollout %s to %s: %s", rollout.id, uri, error)
    return uri


def build(
    rollout: Rollout,
    evidence: Evidence,
    verdicts: tuple[Finding, ...],
    history: list[RolloutState],
    measurements: Measurements,
    last_check: Attendance | None,
    now: datetime,
) -> Report:
    """Return the report.

    Parameters
    ----------
    history
        States of the rollout, oldest first.
    measurements
        What the gates measured at each check.
    last_check
        Last check of a rollout that is not over.
    """
    plan, state = rollout.plan, rollout.state
    versions = ", ".join(map(str, plan.candidates))
    report = Report(
        f"Rollout of {rollout.model}, version {versions}",
        f"{plan.strategy.kind.replace('_', ' ').capitalize()} against champion version {plan.champion} · rollout "
        f"{rollout.id} · started by {rollout.started_by.key}",
    )
    report.verdict(state.status_text, _banner(rollout))
    report.table(["", ""], _facts(rollout, last_check, now))
    of = "requests" if plan.cohort is None else "requests outside the cohort"
    report.section("Weights").timeline(_weights(history, now), f"Share of the {of} that each version receives.")
    report.section("Evidence")
    for finding in verdicts:
        report.timeline(*_evidence(finding, measurements.of(finding.gate, finding.arm), len(plan.all_arms) > 2))
    if not verdicts:
        report.text("This rollout has no gates.")
    report.section("Gates").table(
        ["gate", "arm", "verdict", "evidence"],
        [(finding.gate, finding.arm, finding.verdict, finding.sentence) for finding in verdicts],
    )
    report.table(
        ["arm", "version", "requests", "errors", "rewards"],
        [
            (arm.name, arm.version, counted.requests, counted.errors, counted.reward_count)
            for arm in plan.all_arms
            for counted in (evidence.of_arm(arm.name),)
        ],
        "Totals over all steps.",
    )
    return report.section("History").table(
        ["time (UTC)", "status", "step", "by", "reason"],
        [
            (
                f"{each.changed_at:%Y-%m-%d %H:%M:%S}",
                "settled" if each.settled else each.status_text,
                each.step + 1,
                each.changed_by,
                each.reason,
            )
            for each in history
        ],
    )


def _banner(rollout: Rollout) -> str:
    """Return why the rollout is in its state; for one that waits, without numbers from the time when it began to."""
    if rollout.state.status != "held":
        return rollout.state.reason
    if is_asked(rollout):
        return "The evidence was inconclusive. A user is asked in Airflow, under Required Actions, how to continue."
    return "The evidence was inconclusive. The weights stay as they are until it decides, or until someone does."


def _facts(rollout: Rollout, last_check: Attendance | None, now: datetime) -> list[tuple[str, str]]:
    plan, state = rollout.plan, rollout.state
    facts = [("as of", f"{now:%Y-%m-%d %H:%M:%S} UTC")]
    if not state.is_in_progress:
        facts.append(("answers requests", "no version" if state.version is None else f"version {state.version}"))
        return [*facts, ("duration", format_duration(state.changed_at - state.started_at))]
    if plan.cohort is not None:
        facts.append(("cohort", f"requests in which {plan.cohort.text}"))
    facts += [("step", step_text(plan, state.step)), ("age", format_duration(now - state.started_at))]
    if last_check is not None:
        facts.append(("last check", f"{last_check.at:%Y-%m-%d %H:%M:%S} UTC by {last_check.by}"))
    unattended = "never" if plan.unattended_timeout is None else format_duration(plan.unattended_timeout)
    return [*facts, ("rolled back if unchecked for", unattended)]


def _weights(history: list[RolloutState], now: datetime) -> Timeline:
    arms = list(dict.fromkeys(arm for state in history for arm in state.weights or {}))
    end = now
    if not history[-1].is_in_progress:
        # A little time after the end shows the final weights.
        end = history[-1].changed_at + (history[-1].changed_at - history[0].changed_at) / 25
    changes = [(state.changed_at, state) for state in history if not state.settled]
    series = []
    for arm in arms:
        points: list[tuple[datetime, float | None]] = [
            (moment, None if state.weights is None else state.weights.get(arm, 0.0)) for moment, state in changes
        ]
        series.append(Series(arm, [*points, (max(end, points[-1][0]), points[-1][1])], is_step=True))
    return Timeline("Weights over time", series, lambda share: f"{100 * share:g}%", bottom=0.0, top=1.0)


def _evidence(finding: Finding, measured: list[Measurement], several: bool) -> tuple[Timeline, str]:
    name = f"{finding.gate}, {finding.arm}" if several else finding.gate
    required = measured[-1].required if measured else None
    series = Series(
        "estimate and confidence interval",
        [(each.time, each.estimate) for each in measured],
        low=[each.low for each in measured],
        high=[each.high for each in measured],
    )
    chart = Timeline(
        f"{name} over time",
        [series] if measured else [],
        lambda value: f"{value:.3g}",
        limit=None if required is None else (required, "limit"),
    )
    arm = f" ({finding.arm})" if several else ""
    return chart, f"{finding.verdict.capitalize()}{arm}: {finding.sentence}"
