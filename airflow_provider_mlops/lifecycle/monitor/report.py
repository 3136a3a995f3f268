"""The HTML report of a monitored window: the verdict, the drift of each column, data quality and performance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.reports.report import Report, format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from airflow_provider_mlops.data.profile import BinCounts
    from airflow_provider_mlops.lifecycle.monitor.findings import Findings
    from airflow_provider_mlops.lifecycle.monitor.performance import Performance
    from airflow_provider_mlops.lifecycle.monitor.spec import MonitorSpec
    from airflow_provider_mlops.lifecycle.monitor.window import Window
    from airflow_provider_mlops.registry.model_version import ModelVersion

MAX_FIGURES = 12
MAX_TABLE_ROWS = 200

_SENTENCES = {
    "ok": "Nothing has changed enough for an alarm, and there are enough rows to be sure.",
    "alarm": "Something has changed by more than chance explains, and by enough to matter.",
    "inconclusive": "No change was found, but there are too few rows to rule one out.",
}


def build_report(spec: MonitorSpec, version: ModelVersion, window: Window, findings: Findings) -> Report:
    """Return the report of a window."""
    times = f"{window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    report = Report(f"Monitoring of {version}", times)
    report.verdict(findings.verdict, _SENTENCES[findings.verdict])
    report.section("Reasons").table(
        ("Column, metric or check", "Reason"), list(findings.reasons.items())[:MAX_TABLE_ROWS]
    )
    report.table(
        ("Predictions", "With a label", "Columns compared", "Columns drifted"),
        [
            (
                window.rows,
                window.labeled_rows,
                len(findings.drift.features) if findings.drift else 0,
                len(findings.drifted),
            )
        ],
    )
    _performance(report, findings)
    _drift(report, findings)
    _quality(report, findings)
    if findings.left_out:
        report.section("Not tested").table(
            ("Column or check", "Reason"), list(findings.left_out.items())[:MAX_TABLE_ROWS]
        )
    report.section("How to read this").text(
        f"A window without any change raises an alarm with a probability of at most {spec.false_alarm_rate:.2%}, over "
        "all columns and checks together. The *drift* of a column is the population stability index (PSI) between the "
        "reference and the window, without the part that chance adds for this number of rows. A drift raises an alarm "
        f"if it is significant and at least {format_number(spec.min_effect)}. A column is *inconclusive* if there are "
        f"too few rows to detect a drift of {format_number(spec.detectable_effect)} with a probability of 80%."
    )
    return report


def _performance(report: Report, findings: Findings) -> None:
    performance = findings.performance
    if performance is None:
        return
    report.section("Performance")
    expected = "not evaluated" if performance.expected is None else format_number(performance.expected)
    report.table(
        ("Metric", "In the window", "Interval", "In the evaluation", "Labeled rows", "Significantly worse"),
        [
            (
                performance.metric,
                performance.value,
                f"{format_number(performance.interval[0])} to {format_number(performance.interval[1])}",
                expected,
                performance.rows,
                performance.worse,
            )
        ],
    )
    report.figure(
        _performance_figure(performance),
        f"{performance.metric} in the window with its interval (point), and in the evaluation (dashed line)",
    )


def _drift(report: Report, findings: Findings) -> None:
    if findings.drift is None:
        return
    report.section("Drift")
    features = sorted(findings.drift.features, key=lambda feature: (feature.adjusted_p_value, -feature.effect))
    report.table(
        ("Column", "Verdict", "Drift", "PSI", "Adjusted p-value", "Reason"),
        [
            (
                feature.name,
                feature.verdict,
                feature.effect,
                feature.statistic,
                feature.adjusted_p_value,
                feature.reason,
            )
            for feature in features[:MAX_TABLE_ROWS]
        ],
        f"The {MAX_TABLE_ROWS} of {len(features)} columns with the smallest p-values"
        if len(features) > MAX_TABLE_ROWS
        else "",
    )
    first = [*findings.drifted, *(feature.name for feature in features if feature.name not in findings.drifted)]
    for name in first[:MAX_FIGURES]:
        reference, current = findings.counts.bins[name]
        report.figure(
            _bins_figure(name, reference, current),
            f"{name}: share of the rows in each bin, in the reference and in the window",
        )


def _quality(report: Report, findings: Findings) -> None:
    if not findings.quality:
        return
    nonzero = [check for check in findings.quality if check.share > 0 or check.reference_share > 0]
    report.section("Data quality")
    words = {"missing": "missing", "unseen": "out of range or unseen in the reference"}
    report.table(
        ("Column", "Values", "Share in the reference", "Share in the window", "Adjusted p-value", "Alarm"),
        [
            (
                check.feature,
                words[check.check],
                f"{check.reference_share:.2%}",
                f"{check.share:.2%}",
                check.p_value,
                check.alarm,
            )
            for check in sorted(nonzero, key=lambda check: check.p_value)[:MAX_TABLE_ROWS]
        ],
    )


def _bins_figure(name: str, reference: BinCounts, current: BinCounts) -> Figure:
    from matplotlib.figure import Figure

    # Leave out bins that are empty on both sides, so that they take no space.
    places = [place for place in range(len(reference.labels)) if reference.counts[place] or current.counts[place]]
    figure = Figure(figsize=(7, 2.6))
    axes = figure.add_subplot()
    before = [reference.counts[place] / max(1, reference.rows) for place in places]
    now = [current.counts[place] / max(1, current.rows) for place in places]
    axes.bar([x - 0.2 for x in range(len(places))], before, width=0.4, color="#8a94a6", label="reference")
    axes.bar([x + 0.2 for x in range(len(places))], now, width=0.4, color="#d9822b", label="window")
    axes.set_xticks(
        range(len(places)), [_bin_name(reference.labels[p]) for p in places], rotation=60, ha="right", fontsize=7
    )
    _neutral(axes)
    axes.set_title(_short(name, 60), fontsize=9, color="#808080", loc="left")
    axes.legend(frameon=False, fontsize=7, labelcolor="#808080", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _performance_figure(performance: Performance) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2))
    axes = figure.add_subplot()
    low, high = performance.interval
    axes.errorbar(
        [performance.value],
        [0],
        xerr=[[performance.value - low], [high - performance.value]],
        fmt="o",
        color="#d9822b",
        capsize=4,
        label="window",
    )
    if performance.expected is not None:
        axes.axvline(performance.expected, color="#8a94a6", linestyle="--", label="evaluation")
    axes.set_yticks([])
    _neutral(axes)
    axes.set_xlabel(performance.metric, fontsize=8, color="#808080")
    axes.legend(frameon=False, fontsize=7, labelcolor="#808080", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _neutral(axes: object) -> None:
    # Gray is readable on light and on dark pages.
    axes.tick_params(colors="#808080", labelsize=7)  # type: ignore[attr-defined]
    for side, spine in axes.spines.items():  # type: ignore[attr-defined]
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#808080")


def _bin_name(label: str) -> str:
    """Return a bin's label with three digits per number, so that twenty labels fit under a figure.

    >>> _bin_name("(-2.371650346, 12345.678]"), _bin_name("missing")
    ('(-2.37, 1.23e+04]', 'missing')
    """
    return _short(re.sub(r"-?\d+\.\d+(e[-+]?\d+)?", lambda match: f"{float(match.group()):.3g}", label))


def _short(text: str, length: int = 18) -> str:
    # A dollar sign would start a formula in matplotlib.
    text = text.replace("$", r"\$")
    return text if len(text) <= length else text[: length - 1] + "…"
