"""The report of a monitored window: the verdict, what drifted and how, data quality and performance."""

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

FIGURES_AT_MOST = 12
ROWS_AT_MOST = 200

_SENTENCES = {
    "ok": "Nothing has changed that is worth an alarm, and the rows suffice to say so.",
    "alarm": "Something has changed that is larger than chance and large enough to matter.",
    "inconclusive": "No change was found, but the rows do not suffice to say that there is none.",
}


def build(spec: MonitorSpec, version: ModelVersion, window: Window, findings: Findings) -> Report:
    """Put the report together."""
    times = f"{window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    report = Report(f"Monitoring of {version.name}", f"version {version.version}, {times}")
    report.verdict(findings.verdict, _SENTENCES[findings.verdict])
    report.section("Why").table(("What", "Reason"), list(findings.reasons.items())[:ROWS_AT_MOST])
    report.table(
        ("Predictions", "With a label", "Columns compared", "Drifted"),
        [
            (
                window.rows,
                window.labelled_rows,
                len(findings.drift.features) if findings.drift else 0,
                len(findings.drifted),
            )
        ],
    )
    _performance(report, findings)
    _drift(report, findings)
    _quality(report, findings)
    if findings.left_out:
        report.section("Not tested").table(("What", "Why"), list(findings.left_out.items())[:ROWS_AT_MOST])
    report.section("How to read this").text(
        f"The chance that a window without any change raises an alarm is at most {spec.false_alarm_rate:.2%}, over "
        "all columns and checks together. The *drift* of a column is the population stability index between the "
        "reference and the window, less what chance adds to it for this number of rows. It is an alarm when it is "
        f"significant and at least {format_number(spec.min_effect)}. A column is *inconclusive* where a drift of "
        f"{format_number(spec.detectable_effect)} could have gone unseen."
    )
    return report


def _performance(report: Report, findings: Findings) -> None:
    found = findings.performance
    if found is None:
        return
    report.section("Performance")
    expected = "nothing to compare with" if found.expected is None else format_number(found.expected)
    report.table(
        ("Metric", "In the window", "Interval", "In the evaluation", "Labelled rows", "Worse"),
        [
            (
                found.metric,
                found.value,
                f"{format_number(found.interval[0])} to {format_number(found.interval[1])}",
                expected,
                found.rows,
                found.worse,
            )
        ],
    )
    report.figure(_performance_figure(found), f"{found.metric} in the window, with its interval, and in the evaluation")


def _drift(report: Report, findings: Findings) -> None:
    if findings.drift is None or findings.counted is None:
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
            for feature in features[:ROWS_AT_MOST]
        ],
        f"The {ROWS_AT_MOST} most suspicious of {len(features)} columns" if len(features) > ROWS_AT_MOST else "",
    )
    first = [*findings.drifted, *(feature.name for feature in features if feature.name not in findings.drifted)]
    for name in first[:FIGURES_AT_MOST]:
        reference, current = findings.counted.bins[name]
        report.figure(_bins_figure(name, reference, current), f"{name}: the shares of the rows by bin")


def _quality(report: Report, findings: Findings) -> None:
    seen = [check for check in findings.quality if check.share > 0 or check.reference_share > 0]
    if not findings.quality:
        return
    report.section("Data quality")
    words = {"missing": "missing", "unseen": "out of range or unseen"}
    report.table(
        ("Column", "What", "Share in the reference", "Share in the window", "Adjusted p-value", "Alarm"),
        [
            (
                check.feature,
                words[check.check],
                f"{check.reference_share:.2%}",
                f"{check.share:.2%}",
                check.p_value,
                check.alarm,
            )
            for check in sorted(seen, key=lambda check: check.p_value)[:ROWS_AT_MOST]
        ],
    )


def _bins_figure(name: str, reference: BinCounts, current: BinCounts) -> Figure:
    from matplotlib.figure import Figure

    # Only bins that hold something on either side, so that empty ends take no room.
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


def _performance_figure(found: Performance) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2))
    axes = figure.add_subplot()
    low, high = found.interval
    axes.errorbar(
        [found.value],
        [0],
        xerr=[[found.value - low], [high - found.value]],
        fmt="o",
        color="#d9822b",
        capsize=4,
        label="window",
    )
    if found.expected is not None:
        axes.axvline(found.expected, color="#8a94a6", linestyle="--", label="evaluation")
    axes.set_yticks([])
    _neutral(axes)
    axes.set_xlabel(found.metric, fontsize=8, color="#808080")
    axes.legend(frameon=False, fontsize=7, labelcolor="#808080", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _neutral(axes: object) -> None:
    # Grey reads on a light and on a dark page alike.
    axes.tick_params(colors="#808080", labelsize=7)  # type: ignore[attr-defined]
    for side, spine in axes.spines.items():  # type: ignore[attr-defined]
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#808080")


def _bin_name(label: str) -> str:
    """A bin's label with three digits to a number, so that twenty of them fit under a figure.

    >>> _bin_name("(-2.371650346, 12345.678]"), _bin_name("missing")
    ('(-2.37, 1.23e+04]', 'missing')
    """
    return _short(re.sub(r"-?\d+\.\d+(e[-+]?\d+)?", lambda found: f"{float(found.group()):.3g}", label))


def _short(text: str, length: int = 18) -> str:
    # A dollar sign would begin a formula in matplotlib.
    text = text.replace("$", r"\$")
    return text if len(text) <= length else text[: length - 1] + "…"
